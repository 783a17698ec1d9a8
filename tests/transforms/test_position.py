# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Coordinates in the box of the body."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms.position import BodyPosition, BodyPositiond


def body(shape: tuple[int, ...] = (20, 30, 4)) -> torch.Tensor:
    image = torch.zeros(1, *shape)
    image[0, 5:16, 4:25, :3] = 100.0  # rows 5..15, columns 4..24, slices 0..2
    return image


def test_faces_of_the_body_are_minus_one_and_one() -> None:
    position = BodyPosition()(body())
    assert position.shape == (2, 20, 30, 4) and position.dtype == torch.float32
    for y, x, z in np.ndindex(20, 30, 4):
        assert position[0, y, x, z].item() == pytest.approx(2 * (y - 5) / 10 - 1, abs=1e-6)
        assert position[1, y, x, z].item() == pytest.approx(2 * (x - 4) / 20 - 1, abs=1e-6)
    assert position[0, 5, 0, 0] == -1 and position[0, 15, 0, 0] == 1


def test_axes_may_be_chosen() -> None:
    position = BodyPosition(axes=(2,))(body())
    assert position.shape == (1, 20, 30, 4)
    torch.testing.assert_close(position[0, 3, 7], torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    assert BodyPosition(axes=())(body()).shape == (0, 20, 30, 4)


def test_padding_and_intensity_scale_do_not_matter() -> None:
    image = body()
    padded = torch.nn.functional.pad(image, (0, 0, 3, 5, 7, 2))
    inner = BodyPosition()(padded)[:, 7:27, 3:33]
    torch.testing.assert_close(inner, BodyPosition()(image))
    torch.testing.assert_close(BodyPosition()(image * 7 - 1000), BodyPosition()(image))


def test_specks_outside_the_body_do_not_matter() -> None:
    image = body()
    image[0, 0, 0, 1] = image[0, 19, 29, 2] = 100.0
    torch.testing.assert_close(BodyPosition()(image), BodyPosition()(body()))


def test_a_scan_without_a_body_gets_the_whole_field_of_view() -> None:
    position = BodyPosition()(torch.full((1, 5, 3, 2), 7.0))
    torch.testing.assert_close(position[0, :, 0, 0], torch.linspace(-1, 1, 5))
    torch.testing.assert_close(position[1, 0, :, 0], torch.linspace(-1, 1, 3))
    assert torch.isfinite(BodyPosition()(torch.zeros(1, 1, 3, 2))).all()


def test_meta_data_of_the_image_are_kept() -> None:
    affine = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0], dtype=torch.float64))
    data = BodyPositiond("image")({"image": MetaTensor(body(), affine=affine)})
    assert set(data) == {"image", "position"}
    assert isinstance(data["position"], MetaTensor) and torch.equal(data["position"].affine, affine)
    torch.testing.assert_close(data["position"].as_tensor(), BodyPosition()(body()))
    assert torch.equal(data["image"].as_tensor(), body())
    assert set(BodyPositiond("image", new_key="place", axes=(0,))({"image": body()})) == {"image", "place"}
