# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A coarser grid shows means, not single points, and lies where the image lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd

from monai_fss.transforms import LabelSpacingd, SmoothSpacingd, smooth_spacing

AFFINE = np.array([[-1.0, 0, 0, 50], [0, 2, 0, -10], [0, 0, 4, 7], [0, 0, 0, 1]])


def test_a_ramp_keeps_its_values_in_the_world() -> None:
    shape = (48, 24, 12)
    grid = np.stack(np.indices(shape)).reshape(3, -1)
    world = (AFFINE[:3, :3] @ grid + AFFINE[:3, 3:]).reshape(3, *shape).astype(np.float32)
    coarse = smooth_spacing(MetaTensor(torch.from_numpy(world), affine=AFFINE), (4.0, 4.0, 4.0))
    assert tuple(coarse.shape) == (3, 13, 12, 12)  # both ends are sampled
    affine = np.asarray(coarse.affine)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), 4)
    inner = np.stack(np.indices((6, 6, 6))).reshape(3, -1) + 3
    expected = affine[:3, :3] @ inner + affine[:3, 3:]
    found = np.asarray(coarse)[(slice(None), *inner)]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_stripes_become_grey() -> None:
    stripes = torch.zeros(1, 64, 8, 8)
    stripes[:, ::2] = 1
    found = smooth_spacing(MetaTensor(stripes, affine=torch.eye(4)), (4.0, 1.0, 1.0))
    assert tuple(found.shape) == (1, 17, 8, 8)
    assert (found[:, 2:-2] - 0.5).abs().max() < 0.05


def test_the_border_is_not_darkened() -> None:
    found = smooth_spacing(MetaTensor(torch.full((1, 16, 16, 16), 3.0), affine=torch.eye(4)), (5.0, 5.0, 5.0))
    torch.testing.assert_close(found.as_tensor(), torch.full_like(found.as_tensor(), 3.0))


def test_nothing_changes_where_the_grid_is_the_same() -> None:
    image = MetaTensor(torch.rand(1, 6, 5, 4), affine=torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0])))
    found = SmoothSpacingd("image", (2.0, 1.0, 3.0))({"image": image})["image"]
    torch.testing.assert_close(found.as_tensor(), image.as_tensor())


def test_a_plain_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match="image: must be a MetaTensor"):
        smooth_spacing(torch.zeros(1, 4, 4, 4), (1, 1, 1))  # type: ignore[arg-type]


def test_what_others_have_put_into_an_item_stays() -> None:
    """MONAI Label names the file ``image_path``: MONAI's ``Spacingd`` takes it for meta data, and fails."""
    image = MetaTensor(torch.rand(1, 8, 8, 8), affine=torch.eye(4), meta={"filename_or_obj": "a.nii.gz"})
    item = {"image": image, "image_path": "a.nii.gz", "image_id": ["a"], "image_meta_dict": {"own": 1}, "label_tag": 3}
    with pytest.raises(AttributeError):
        Spacingd("image", (2, 2, 2))(dict(item))
    found = LabelSpacingd("image", (2, 2, 2))(item)
    torch.testing.assert_close(found["image"], Spacingd("image", (2, 2, 2))({"image": image})["image"])
    assert (found["image_path"], found["image_id"], found["label_tag"]) == ("a.nii.gz", ["a"], 3)
    assert found["image_meta_dict"]["own"] == 1
