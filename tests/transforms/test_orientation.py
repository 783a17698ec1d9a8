# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Orientation that keeps slices slices."""

from __future__ import annotations

import itertools
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Spacingd

from monai_fss.transforms.orientation import SliceOrientation, SliceOrientationd, slice_axcodes

SHAPE = (4, 5, 3)
SPACING = np.array([1.4, 1.4, 8.0])


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = (k for k in range(3) if k != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def scan(
    degrees: tuple[float, float, float] = (0, 0, 0),
    order: tuple[int, ...] = (0, 1, 2),
    flips: tuple[int, ...] = (1, 1, 1),
    spacing: np.ndarray = SPACING,
) -> MetaTensor:
    """A scan of numbered voxels; array axis i is anatomical axis order[i], backwards where flips[order[i]] is -1."""
    affine = np.eye(4)
    affine[:3, :3] = (rotation(degrees) * spacing * np.array(flips))[:, list(order)]
    affine[:3, 3] = [3, -7, 11]
    shape = [SHAPE[axis] for axis in order]
    numbers = torch.arange(float(np.prod(shape))).reshape(1, *shape)
    return MetaTensor(numbers, affine=torch.from_numpy(affine))


def world(image: MetaTensor) -> dict[float, tuple[float, ...]]:
    """Where each numbered voxel lies in the patient, mm."""
    affine = np.asarray(image.affine)
    return {
        float(image[(0, *index)]): tuple(np.round(affine[:3] @ [*index, 1], 4))
        for index in np.ndindex(*image.shape[1:])
    }


@pytest.mark.parametrize("codes", ["RAS", "LAS", "RPS", "LPS", "SAR", "ASL", "PIR", "LIP"])
def test_axial_scans_become_ras_however_they_were_stored(codes: str) -> None:
    names = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    order = tuple(names[code][0] for code in codes)
    flips = [0, 0, 0]
    for code in codes:
        flips[names[code][0]] = names[code][1]
    image = scan(order=order, flips=tuple(flips))
    assert "".join(nib.orientations.aff2axcodes(np.asarray(image.affine))) == codes
    oriented = SliceOrientation()(image)
    assert tuple(oriented.shape[1:]) == SHAPE
    np.testing.assert_allclose(np.diag(np.asarray(oriented.affine))[:3], SPACING)
    assert world(oriented) == world(image)


def test_a_tilted_axial_stack_is_still_axial() -> None:
    assert slice_axcodes(np.asarray(scan((20, 0, 0), flips=(-1, -1, 1)).affine)) == "RAS"
    assert slice_axcodes(np.asarray(scan((30, 0, 0), flips=(-1, -1, 1)).affine)) == "LPS"
    assert slice_axcodes(np.asarray(scan((30, 0, 0), flips=(-1, -1, 1)).affine), tolerance=35) == "RAS"
    assert slice_axcodes(np.asarray(scan(flips=(-1, 1, 1)).affine), axcodes="LPS") == "LPS"


@pytest.mark.parametrize("degrees", [(45, 0, 0), (0, 45, 45), (30, 45, 0), (45, 0, 60), (50, 20, 10)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_oblique_scans_keep_their_plane(
    degrees: tuple[float, float, float], order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    image = scan(degrees, order, flips)
    transform = SliceOrientation()
    oriented = transform(image)
    slices = order.index(2)
    stored = [axis + 1 for axis in range(3) if axis != slices] + [slices + 1]
    assert torch.equal(oriented.as_tensor(), image.as_tensor().permute(0, *stored))
    assert world(oriented) == world(image)
    back = transform.inverse(oriented)
    assert torch.equal(back.as_tensor(), image.as_tensor())
    np.testing.assert_allclose(np.asarray(back.affine), np.asarray(image.affine), atol=1e-12)


def test_oblique_isotropic_scans_stay_as_stored() -> None:
    image = scan((45, 10, 0), spacing=np.array([1.0, 1.0, 1.2]))
    assert torch.equal(SliceOrientation()(image).as_tensor(), image.as_tensor())


def test_almost_equal_oblique_planes_are_oriented_alike() -> None:
    """Either side of the tie at 45 degrees, where the closest patient axis changes."""
    for order in itertools.permutations(range(3)):
        one, two = (SliceOrientation()(scan((angle, 0, 0), order)) for angle in (44.9, 45.1))
        assert torch.equal(one.as_tensor(), two.as_tensor())


@pytest.mark.parametrize("degrees", [(0, 0, 0), (30, 45, 0), (45, 0, 60), (50, 20, 10)])
def test_invertd_brings_a_prediction_back_to_the_stored_grid(degrees: tuple[float, float, float]) -> None:
    image = scan(degrees, order=(2, 0, 1), flips=(-1, 1, 1))
    chain = Compose([SliceOrientationd(keys=["image", "label"]), Spacingd("image", pixdim=(0.7, 0.7, -1))])
    data = chain({"image": image, "label": image.clone()})
    assert tuple(data["label"].shape[1:]) == SHAPE
    data["pred"] = MetaTensor(torch.ones_like(data["image"].as_tensor()), meta=data["image"].meta)
    data["pred"].applied_operations = data["image"].applied_operations
    back = Invertd("pred", chain, orig_keys="image", nearest_interp=True)(data)["pred"]
    assert back.shape == image.shape and torch.equal(back.as_tensor(), torch.ones_like(image.as_tensor()))
    np.testing.assert_allclose(np.asarray(back.affine), np.asarray(image.affine), atol=1e-5)
    labels = Compose([SliceOrientationd(keys="label")])
    restored = labels.inverse(labels({"label": image.clone()}))["label"]
    assert torch.equal(restored.as_tensor(), image.as_tensor())


def test_each_item_is_oriented_by_its_own_affine() -> None:
    data: dict[Any, Any] = {"one": scan(flips=(-1, 1, 1)), "two": scan((45, 0, 0), flips=(-1, 1, 1))}
    out = SliceOrientationd(keys=["one", "two", "three"], allow_missing_keys=True)(data)
    assert torch.equal(out["one"].as_tensor(), data["one"].as_tensor().flip(1))
    assert torch.equal(out["two"].as_tensor(), data["two"].as_tensor())


def test_a_tensor_without_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a MetaTensor with an affine. Load the scan with LoadImage"):
        SliceOrientation()(torch.zeros(1, 2, 2, 2))
