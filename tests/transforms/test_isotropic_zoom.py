# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A zoom makes what is shown larger about the middle by one factor: rows and columns, image, position and label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import RandAffined

from monai_fss.transforms import AugmentSides, RandIsotropicZoomd

MODES: dict[str, Any] = {
    "mode": ["bilinear", "bilinear", "nearest"],
    "padding_mode": ["zeros", "border", "zeros"],
}


def disk(size: int = 129, radius: float = 40.0) -> torch.Tensor:
    """(1, size, size), 1 within the radius around the middle."""
    line = torch.arange(size) - (size - 1) / 2
    return ((line[:, None] ** 2 + line**2) <= radius**2).float()[None]


def extent(mask: torch.Tensor) -> tuple[float, float]:
    """Rows and columns that show something."""
    return float(mask.any(-1).sum()), float(mask.any(-2).sum())


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.2])
def test_a_disk_becomes_larger_by_the_factor(factor: float) -> None:
    zoomed = RandIsotropicZoomd("label", (factor, factor), "nearest")({"label": disk()})["label"]
    rows, columns = extent(zoomed[0])
    assert rows == columns == pytest.approx(2 * 40 * factor + 1, abs=1.01)
    assert (zoomed.sum() / disk().sum()).sqrt() == pytest.approx(factor, abs=0.01)
    middle = [float(zoomed[0].any(axis).nonzero().float().mean()) for axis in (0, 1)]
    assert middle == [pytest.approx(64, abs=0.51)] * 2, "about the middle"
    assert set(zoomed.unique().tolist()) == {0, 1}


def test_image_position_and_label_become_larger_together() -> None:
    line = torch.linspace(-1, 1, 129)
    position = line[None, :, None].expand(1, 129, 129).contiguous()
    zoom = RandIsotropicZoomd(["image", "position", "label"], (0.8, 1.3), **MODES)
    zoom.set_random_state(seed=0)
    factors = []
    for _ in range(20):
        found = zoom({"image": 5 * disk(), "position": position, "label": disk()})
        factor = float((found["label"].sum() / disk().sum()).sqrt())
        factors.append(factor)
        differs = (found["image"] > 2.5) != (found["label"] > 0)  # of 5, half at the rim
        assert float(differs.sum()) < 0.02 * float(found["label"].sum())
        middle = torch.as_tensor(found["position"])[0, :, 64]
        expected = (line / factor).clamp(-1, 1)  # beyond the image as at its border
        torch.testing.assert_close(middle, expected, rtol=0, atol=0.02)
    assert min(factors) < 0.9 and max(factors) > 1.2


def test_what_a_smaller_image_leaves_free_is_zero() -> None:
    found = RandIsotropicZoomd("image", (0.5, 0.5))({"image": torch.ones(1, 40, 40)})["image"][0]
    assert found[:9].max() == 0 and found[:, 31:].max() == 0 and found[11:29, 11:29].min() == 1


def test_it_takes_volumes_and_items_without_channels() -> None:
    ball = torch.zeros(2, 21, 21, 21)
    ball[:, 5:16, 5:16, 5:16] = 1
    found = RandIsotropicZoomd(["image", "position"], (1.4, 1.4))(
        {"image": ball, "position": torch.zeros(0, 21, 21, 21)}
    )
    assert found["position"].shape == (0, 21, 21, 21)
    assert float(found["image"][0].sum()) == pytest.approx(11**3 * 1.4**3, rel=0.05)


def test_the_side_that_is_zoomed_is_the_side_that_is_warped() -> None:
    keys = ["image", "position", "label"]
    warp = RandAffined(keys, prob=1, translate_range=[(7, 7), (0, 0)], **MODES)
    augment = AugmentSides(warp, contrast_prob=0, gamma=(1, 1), zoom=(1.2, 1.2))
    augment.set_random_state(seed=0)
    sides = set()
    for _ in range(12):
        whole = {prefix + key: disk() for prefix in ("", "support_") for key in ("image", "label")}
        whole |= {prefix + "position": torch.zeros(0, 129, 129) for prefix in ("", "support_")}
        found = augment(whole)
        (prefix,) = [p for p in ("", "support_") if not torch.equal(torch.as_tensor(found[f"{p}label"]), disk())]
        label = torch.as_tensor(found[f"{prefix}label"])[0]
        assert extent(label) == (pytest.approx(97, abs=1.01), pytest.approx(97, abs=1.01))
        assert float(label.any(-1).nonzero().float().mean()) == pytest.approx(64 - 7, abs=0.6), "and moved"
        sides.add(prefix)
    assert sides == {"", "support_"}


def test_a_zoom_alone_changes_one_side_and_none_changes_nothing() -> None:
    item = {f"{prefix}{key}": disk() for prefix in ("", "support_") for key in ("image", "label", "position")}
    alone = AugmentSides(contrast_prob=0, gamma=(1, 1), zoom=(1.2, 1.2), weights=(1, 0))(dict(item))
    assert float(alone["label"].sum()) > 1.3 * float(disk().sum()) and torch.equal(alone["support_label"], disk())
    plain = AugmentSides(contrast_prob=0, gamma=(1, 1))(dict(item))
    assert torch.equal(plain["label"], disk()) and torch.equal(plain["support_label"], disk())


def test_the_factor_is_drawn_uniformly_by_the_state() -> None:
    one, two = (RandIsotropicZoomd("image", (0.9, 1.2)) for _ in range(2))
    for zoom in (one, two):
        zoom.set_random_state(seed=3)
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(one({"image": image})["image"], two({"image": image})["image"]) for _ in range(3))
    state = np.random.RandomState(3)
    one.set_random_state(seed=3)
    disks = [float((one({"image": disk()})["image"].sum() / disk().sum()).sqrt()) for _ in range(5)]
    np.testing.assert_allclose(disks, [state.uniform(0.9, 1.2) for _ in range(5)], atol=2e-3)


def test_it_says_what_is_wrong() -> None:
    for wrong in ((1.2, 0.9), (0.0, 1.0), (1.0,)):
        with pytest.raises(ValueError, match=r"zoom must be \(least, most\) factor, both above 0, got"):
            RandIsotropicZoomd("image", wrong)
    with pytest.raises(ValueError, match="must have length 2, got 3"):
        RandIsotropicZoomd(["image", "label"], (0.9, 1.2), ["bilinear", "nearest", "nearest"])
