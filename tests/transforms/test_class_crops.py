# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Classes are drawn by their weights: chi-square tests, also where a volume does not show one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import ClassesToIndicesd, Compose
from scipy.stats import chisquare

from monai_fss.data import WeightedClassEpisodes
from monai_fss.transforms import DRAWN, RandWeightedClassCropd, class_shares, class_weights

WEIGHTS = [1.0, 3.0, 8.0]
DRAWS = 1500


def volume(*values: int) -> dict[str, Any]:
    """One voxel of each value far from the border, the rest background; each voxel of the image has its own number."""
    label = torch.zeros(1, 9, 9, 9)
    for value in values:
        label[0, 2 * value, 4, 4] = value
    item = {"image": torch.arange(label.numel()).reshape(label.shape).float(), "label": label}
    return ClassesToIndicesd("label", num_classes=len(WEIGHTS))(item)


def crops(**more: Any) -> RandWeightedClassCropd:
    return RandWeightedClassCropd(["image", "label"], "label", [1, 1, 1], WEIGHTS, **more)


def p_value(seen: Counter[int], weights: list[float]) -> float:
    expected = np.array(weights) / sum(weights) * sum(seen.values())
    return float(chisquare([seen[number] for number in range(len(weights))], expected).pvalue)


def test_classes_of_one_volume_come_up_by_their_weights() -> None:
    """A window of one voxel shows the class of its centre."""
    item, draw = volume(1, 2), crops(indices_key="label_cls_indices")
    draw.set_random_state(seed=0)
    seen = Counter(int(draw(item)[0]["label"]) for _ in range(DRAWS))
    assert p_value(seen, WEIGHTS) > 0.01
    assert p_value(seen, [1.0, 1.0, 1.0]) < 1e-6, "the test can fail"


def test_where_a_class_is_absent_the_others_share_its_weight() -> None:
    item, draw = volume(1), crops()
    draw.set_random_state(seed=0)
    seen = Counter(int(draw(item)[0]["label"]) for _ in range(DRAWS))
    assert seen[2] == 0 and p_value(Counter({0: seen[0], 1: seen[1]}), WEIGHTS[:2]) > 0.01


def test_over_volumes_that_lack_classes_the_shares_equal_the_weights() -> None:
    """Class 2 is in one of three volumes, class 1 in two."""
    volumes = [volume(1), volume(), volume(1, 2)]
    episodes = WeightedClassEpisodes(volumes, WEIGHTS, Compose([crops(indices_key="label_cls_indices")]), DRAWS)
    seen = Counter(int(episodes[index][0]["label"]) for index in range(DRAWS))
    assert p_value(seen, WEIGHTS) > 0.01
    assert episodes.shown == [[0, 1, 2], [0, 2], [2]]
    assert torch.equal(episodes[7][0]["image"], episodes[7][0]["image"]), "a function of the index"
    unshown = WeightedClassEpisodes(volumes[:1], WEIGHTS, Compose([crops(indices_key="label_cls_indices")]), DRAWS)
    assert unshown.shares.tolist() == [0.25, 0.75, 0.0]
    with pytest.raises(ValueError, match="are 2 for 3 classes"):
        WeightedClassEpisodes(volumes, [1, 1], Compose([crops()]), 1)
    with pytest.raises(ValueError, match="no volume shows a class"):
        WeightedClassEpisodes(volumes[:1], [0, 0, 1], Compose([crops()]), 1)


def test_a_class_that_is_drawn_already_is_the_centre_and_windows_stay_inside() -> None:
    draw = RandWeightedClassCropd(["image", "label"], "label", [5, 5, 5], WEIGHTS)
    item = {key: value for key, value in volume(1, 2).items() if key in ("image", "label")}
    window = draw({**item, DRAWN: 1})[0]
    assert window["image"].shape == (1, 5, 5, 5) and window["label"][0, 2, 2, 2] == 1 and DRAWN not in window
    corner = torch.zeros(1, 9, 9, 9)
    corner[0, 0, 0, 8] = 2
    window = draw({**item, "label": corner, DRAWN: 2})[0]
    assert window["label"].shape == (1, 5, 5, 5) and window["label"][0, 0, 0, 4] == 2


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_that_cannot_be_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        RandWeightedClassCropd("label", "label", [1, 1, 1], weights)


def test_weights_by_the_share_of_voxels() -> None:
    labels = [np.array([[0, 0, 0, 1]]), np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, -1])]
    shares = class_shares(labels, 4)
    assert shares == [13 / 15, 1 / 15, 1 / 15, 0.0]
    assert class_weights(shares, -1) == pytest.approx(shares)
    assert class_weights(shares, 0) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    weights = class_weights([0.9, 0.1 * 0.999, 0.1 * 0.001])
    assert weights[2] / weights[1] == pytest.approx(999 ** (1 / 3)) and sum(weights) == pytest.approx(1)
    assert class_weights([0.0, 0.0]) == [0, 0]
