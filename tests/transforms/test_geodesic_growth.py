# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles grow up to the edges of what they lie in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms import GeodesicGrowthd, geodesic_distance, grow_scribbles


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two bright blocks and a dark one of the same width, noise of 1 %; image, truth, scribbles (9: background)."""
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 24, 10), np.int16)
    truth[3:9, 3:20, 2:8] = 1
    truth[11:17, 3:12, 2:8] = 2
    image = np.choose(truth, [0.2, 0.8, 0.5]) + rng.normal(0, 0.003, truth.shape)
    scribbles = np.zeros_like(truth)
    scribbles[6, 5:18, 5] = 1
    scribbles[14, 5:10, 5] = 2
    scribbles[18, 2:22, 5] = 9
    scribbles[0:19, 22, 5] = 9
    return image.astype(np.float32), truth, scribbles


def test_blocks_are_filled_and_nothing_else() -> None:
    image, truth, scribbles = scene()
    mask, confidence = grow_scribbles(image, scribbles, (1.0, 1.0, 2.0), background=9)
    assert mask.dtype == scribbles.dtype and (mask == truth).mean() > 0.999
    assert confidence.dtype == np.float32 and confidence.min() >= 0 and confidence.max() <= 1
    inside = (mask == truth) & (truth > 0)
    assert confidence[inside].min() > 0.1


def test_scores_by_hand() -> None:
    image, _, scribbles = scene()
    scores = [1 - np.minimum(geodesic_distance(image, scribbles == value), 0.5) / 0.5 for value in (9, 1, 2)]
    expected = np.array([0, 1, 2])[np.argmax(scores, axis=0)]  # the first of equal ones, that is the background
    ordered = np.sort(scores, axis=0)
    mask, confidence = grow_scribbles(image, scribbles, background=9, limit=0.5)
    assert np.array_equal(mask, expected)
    np.testing.assert_allclose(confidence, ordered[-1] - ordered[-2], atol=1e-6)


def test_without_background_scribbles_the_limit_ends_the_growth() -> None:
    image, truth, scribbles = scene()
    scribbles[scribbles == 9] = 0
    mask, confidence = grow_scribbles(image, scribbles, limit=0.2)
    assert (mask == truth).mean() > 0.999
    assert (confidence[mask == 0] == 0).all(), "nothing says that it is background"
    leaking, _ = grow_scribbles(image, scribbles, limit=5.0)
    assert (leaking > 0).mean() > 0.9


def test_as_a_transform_it_knows_the_size_of_a_voxel() -> None:
    image, _, scribbles = scene()
    affine = torch.diag(torch.tensor([-2.0, 0.8, 3.0, 1.0]))
    data = {"image": MetaTensor(torch.tensor(image)[None], affine=affine), "scribbles": torch.tensor(scribbles)[None]}
    result = GeodesicGrowthd("scribbles", background=9, limit=0.7)(data)
    mask, confidence = grow_scribbles(image, scribbles, (2.0, 0.8, 3.0), background=9, limit=0.7)
    assert np.array_equal(np.asarray(result["scribbles"][0]), mask)
    assert np.array_equal(np.asarray(result["confidence"][0]), confidence)
    assert torch.equal(result["scribbles"].affine, affine.double())
    with pytest.raises(ValueError, match="image: must be a MetaTensor"):
        GeodesicGrowthd("scribbles")({"image": torch.tensor(image)[None], "scribbles": data["scribbles"]})


def test_arguments_are_checked() -> None:
    image, _, scribbles = scene()
    with pytest.raises(ValueError, match="mark no class, limit 1.0. Mark at least one class"):
        grow_scribbles(image, np.where(scribbles == 9, 9, 0), background=9)
    with pytest.raises(ValueError, match=r"mark \[1, 2\], limit 0"):
        grow_scribbles(image, scribbles, background=9, limit=0)
