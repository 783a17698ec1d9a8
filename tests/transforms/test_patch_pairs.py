# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pairs of patches: what is cut where, and how far apart in mm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms import SamplePatchPair, patch_around

SPACING = np.array([2.0, 0.5, 3.0])


def scan(shape: tuple[int, int, int] = (20, 24, 12), low: float = 1.0) -> dict[str, MetaTensor]:
    """Three channels that say where a voxel lies, the first counted from ``low``; a sheared affine."""
    grid = np.stack(np.indices(shape)).astype(np.float32)
    grid[0] += low
    affine = np.diag([*(SPACING * [-1, 1, 1]), 1.0])
    return {"image": MetaTensor(torch.from_numpy(grid), affine=torch.from_numpy(affine))}


def centre(patch: torch.Tensor, low: float = 1.0) -> np.ndarray:
    middle = tuple(n // 2 for n in patch.shape[1:])
    return patch[(slice(None), *middle)].numpy() - [low, 0, 0]


def test_a_patch_is_centred_and_filled_up_with_zeros() -> None:
    volume = torch.arange(60.0).reshape(1, 3, 4, 5) + 1
    assert torch.equal(patch_around(volume, (1, 2, 2), (3, 3, 3)), volume[:, 0:3, 1:4, 1:4])
    patch = patch_around(volume, (0, 3, 4), (4, 4, 4))  # from -2, 1, 2
    assert torch.equal(patch[:, 2:, :3, :3], volume[:, 0:2, 1:4, 2:5])
    assert patch.sum() == volume[:, 0:2, 1:4, 2:5].sum()
    assert patch_around(volume, (30, 0, 0), (3, 3, 3)).sum() == 0
    patch_around(volume, (1, 2, 2), (3, 3, 3)).zero_()
    assert volume.min() == 1


@pytest.mark.parametrize("radius", [None, 4.0, (6.0, 2.0, 3.0)])
def test_the_offset_is_that_of_the_centres(radius: float | tuple[float, ...] | None) -> None:
    draw = SamplePatchPair((8, 6, 4), radius).set_random_state(0)
    data, offsets = scan(), []
    for _ in range(200):
        pair = draw(data)
        assert pair["first"].shape == pair["second"].shape == (3, 8, 6, 4)
        expected = (centre(pair["first"]) - centre(pair["second"])) * SPACING
        np.testing.assert_allclose(pair["offset"].numpy(), expected, atol=1e-4)
        offsets.append(np.abs(expected))
    largest = np.max(offsets, axis=0)
    limit = (np.array([20, 24, 12]) - 1) * SPACING if radius is None else np.broadcast_to(np.asarray(radius, float), 3)
    assert (largest <= limit + 1e-6).all() and (largest >= np.floor(0.7 * limit / SPACING) * SPACING).all()


def test_centres_lie_in_the_body() -> None:
    data = scan()
    data["image"][0, :15] = 0  # air, but for a corner
    data["image"][0, 3, 5, 7] = 1
    draw = SamplePatchPair((2, 2, 2), radius=8.0).set_random_state(1)
    for _ in range(100):
        pair = draw(data)
        for side in ("first", "second"):
            assert pair[side][0, 1, 1, 1] > 0


def test_the_same_state_draws_the_same_pair() -> None:
    one, two = (SamplePatchPair((4, 4, 4)).set_random_state(3) for _ in range(2))
    for _ in range(5):
        a, b = one(scan()), two(scan())
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"patch_size must be \(H, W, slices\), each at least 1, got \(4, 4\)"):
        SamplePatchPair((4, 4))
    with pytest.raises(ValueError, match=r"radius must be positive \(mm\), got 0"):
        SamplePatchPair((4, 4, 4), radius=0)
    with pytest.raises(ValueError, match="image: must be a MetaTensor"):
        SamplePatchPair((4, 4, 4))({"image": torch.ones(1, 8, 8, 8)})
    empty = {"image": MetaTensor(torch.zeros(1, 8, 8, 8), affine=torch.eye(4))}
    with pytest.raises(ValueError, match="image: has no voxel above 0.0001. Check how intensities are scaled"):
        SamplePatchPair((4, 4, 4))(empty)
