# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where in the labelled scan a voxel lies, against images that show their own place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from installed_bundles import config_of
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, RandAffine, RandSpatialCrop

from monai_fss.transforms import LabelledPositiond, labelled_position

AFFINE = torch.tensor([[0, -2.0, 0, 5], [3.0, 0, 0, -7], [0, 0, 4.0, 11], [0, 0, 0, 1]], dtype=torch.float64)
TO_LABELLED = np.array([[0.01, 0.001, 0, 0.2], [0, 0.02, 0, -0.3], [0.002, 0, 0.01, 0], [0, 0, 0, 1]])


def shows_its_place(shape: tuple[int, int, int]) -> MetaTensor:
    """(3, *shape): each voxel has its coordinates in the labelled scan, by a loop."""
    places = np.empty((3, *shape), np.float32)
    for index in np.ndindex(*shape):
        world = AFFINE.numpy() @ [*index, 1]
        places[(slice(None), *index)] = (TO_LABELLED @ world)[:3]
    return MetaTensor(places, affine=AFFINE)


def test_coordinates_are_those_of_the_world_behind_the_matrix() -> None:
    image = shows_its_place((4, 5, 6))
    assert torch.allclose(labelled_position(image, TO_LABELLED), image.as_tensor(), atol=1e-6)
    assert labelled_position(image, torch.from_numpy(TO_LABELLED)).dtype == torch.float32


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_a_window_that_was_cut_turned_and_scaled_those_of_what_it_shows(seed: int) -> None:
    window = Compose(
        [
            RandSpatialCrop((24, 22, 20), random_size=False),
            RandAffine(
                prob=1, rotate_range=[0.3] * 3, scale_range=[0.25] * 3, spatial_size=(12, 11, 10), padding_mode="zeros"
            ),
        ]
    )
    window.set_random_state(seed)
    image = window(shows_its_place((30, 28, 26)))
    result = LabelledPositiond("image")({"image": image, "to_labelled": torch.from_numpy(TO_LABELLED)})["image"]
    assert result.shape == (6, 12, 11, 10)
    assert torch.allclose(result[3:].as_tensor(), image.as_tensor(), atol=2e-3), "linear images are not blurred"
    assert torch.equal(result[:3].as_tensor(), image.as_tensor()) and torch.equal(result.affine, image.affine)


def test_jitter_moves_all_places_of_an_image_alike() -> None:
    item = {"image": shows_its_place((4, 5, 6)), "to_labelled": TO_LABELLED}
    moved = LabelledPositiond("image", jitter=0.08)
    moved.set_random_state(0)
    shifts = []
    for _ in range(300):
        apart = moved(item)["image"][3:] - item["image"]
        assert torch.allclose(apart, apart[:, :1, :1, :1].expand_as(apart), atol=1e-6)
        shifts.append(apart[:, 0, 0, 0].tolist())
    spread = np.array(shifts).std(0)
    assert spread == pytest.approx([0.08] * 3, rel=0.15) and abs(np.array(shifts).mean(0)).max() < 0.02
    assert np.array_equal(item["to_labelled"], TO_LABELLED)
    with pytest.raises(ValueError, match="jitter must be at least 0"):
        LabelledPositiond("image", jitter=-1)


def test_the_windows_of_self_training_know_their_place() -> None:
    """Its own random transforms, again and again: a transform that keeps an affine of before would show."""
    steps = config_of("self_training", "train", roi_size=[12, 11, 10])["train"]["preprocessing"]["transforms"]
    wanted = [step for step in steps if step["_target_"].endswith(("RandAffined", "LabelledPositiond"))]
    parser = ConfigParser({"roi_size": [12, 11, 10], "position": True, "steps": wanted})
    affine, position = parser.get_parsed_content("steps")
    affine = type(affine)(**{**{k: v for k, v in wanted[0].items() if k != "_target_"}, "spatial_size": (12, 11, 10)})
    position.jitter = 0.0
    for seed in range(12):
        affine.set_random_state(seed)
        image = shows_its_place((15, 14, 13))
        item = affine({"image": image, "label": image, "to_labelled": TO_LABELLED})
        inside = item["image"].abs().amax(0) > 0
        apart = (position(item)["image"][3:] - item["image"]).abs().amax(0)[2:-2, 2:-2, 2:-2]
        assert float(apart[inside[2:-2, 2:-2, 2:-2]].median()) < 2e-3, seed
