# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Patches of a scan: what is cut where, and where they lie in mm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms import SamplePatches, patch_around

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


def places(patches: torch.Tensor, low: float = 1.0) -> np.ndarray:
    """Where the patches of :func:`scan` lie, by what their centres say."""
    return np.stack([centre(patch, low) for patch in patches]) * SPACING


@pytest.mark.parametrize("radius", [None, 4.0, (6.0, 2.0, 3.0)])
def test_places_are_those_of_the_centres(radius: float | tuple[float, ...] | None) -> None:
    draw = SamplePatches((8, 6, 4), 3, radius).set_random_state(0)
    data, offsets = scan(), []
    for _ in range(200):
        found = draw(data)
        assert found["image"].shape == (3, 3, 8, 6, 4)
        expected = places(found["image"])
        np.testing.assert_allclose(found["place"].numpy(), expected, atol=1e-4)
        offsets.append(np.abs(expected[1:] - expected[0]).max(0))
    largest = np.max(offsets, axis=0)
    limit = (np.array([20, 24, 12]) - 1) * SPACING if radius is None else np.broadcast_to(np.asarray(radius, float), 3)
    assert (largest <= limit + 1e-6).all() and (largest >= np.floor(0.7 * limit / SPACING) * SPACING).all()


def test_a_part_of_the_scan_is_all_that_is_seen() -> None:
    draw = SamplePatches((40, 48, 24), 2, keep=(0.5, 1.0, 0.25)).set_random_state(0)
    extents = []
    for _ in range(100):
        found = draw(scan())
        first, second = found["image"]
        assert first.sum() == second.sum(), "both see the same part, whole"
        shown = np.stack(np.nonzero(first[0].numpy()))
        extents.append(np.ptp(shown, axis=1) + 1)
        offset = (found["place"][0] - found["place"][1]).numpy()
        np.testing.assert_allclose(offset, places(found["image"])[0] - places(found["image"])[1], atol=1e-4)
    low, high = np.min(extents, axis=0), np.max(extents, axis=0)
    assert low.tolist() == [10, 24, 3] and high[1] == 24 and high[0] > 18 and high[2] > 10


def test_a_part_without_anything_is_drawn_again() -> None:
    data = scan()
    data["image"][0] = 0
    data["image"][0, 2, 3, 4] = 1
    draw = SamplePatches((2, 2, 2), keep=(0.1, 0.1, 0.1)).set_random_state(1)
    for _ in range(20):
        assert (draw(data)["image"][:, 0, 1, 1, 1] == 1).all()


def test_centres_lie_in_the_body() -> None:
    data = scan()
    data["image"][0, :15] = 0  # air, but for a corner
    data["image"][0, 3, 5, 7] = 1
    draw = SamplePatches((2, 2, 2), 4, radius=8.0).set_random_state(1)
    for _ in range(100):
        assert (draw(data)["image"][:, 0, 1, 1, 1] > 0).all()


def test_the_voxel_size_may_be_told() -> None:
    plain = {"image": scan()["image"].as_tensor()}
    told, read = (SamplePatches((4, 4, 4), spacing=s).set_random_state(5) for s in (SPACING, None))
    assert torch.equal(told(plain)["place"], read(scan())["place"])


def test_the_same_state_draws_the_same_patches() -> None:
    one, two = (SamplePatches((4, 4, 4), keep=(0.5, 0.5, 0.5)).set_random_state(3) for _ in range(2))
    for _ in range(5):
        a, b = one(scan()), two(scan())
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"patch_size must be \(H, W, slices\), each at least 1, got \(4, 4\)"):
        SamplePatches((4, 4))
    with pytest.raises(ValueError, match="count at least 2, got 1"):
        SamplePatches((4, 4, 4), 1)
    with pytest.raises(ValueError, match=r"radius must be positive \(mm\), got 0"):
        SamplePatches((4, 4, 4), radius=0)
    with pytest.raises(ValueError, match="keep must be three parts above 0 and at most 1"):
        SamplePatches((4, 4, 4), keep=(1, 1, 1.5))
    with pytest.raises(ValueError, match="image: must be a MetaTensor"):
        SamplePatches((4, 4, 4))({"image": torch.ones(1, 8, 8, 8)})
    empty = {"image": MetaTensor(torch.zeros(1, 8, 8, 8), affine=torch.eye(4))}
    with pytest.raises(ValueError, match="image: has no voxel above 0.0001. Check how intensities are scaled"):
        SamplePatches((4, 4, 4))(empty)
