# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The crop to the slices that an item names."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms import SliceRanged

AFFINE = torch.tensor(
    [[0.0, 2.0, 0.0, 5.0], [-3.0, 0.0, 0.0, 6.0], [0.0, 0.0, 7.0, -8.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
)


def scan() -> MetaTensor:
    return MetaTensor(torch.arange(2 * 3 * 4 * 9.0).reshape(2, 3, 4, 9), affine=AFFINE, meta={"filename_or_obj": "a"})


def test_it_crops_and_keeps_each_voxel_where_it_is() -> None:
    image, position = scan(), scan()[:1] + 0.5
    item = {"image": image, "position": position, "slices": [4, 7], "stamp": "x"}
    result = SliceRanged(["image", "position"])(item)
    assert torch.equal(result["image"].as_tensor(), scan().as_tensor()[..., 4:7])
    assert torch.equal(result["position"].as_tensor(), scan().as_tensor()[:1, ..., 4:7] + 0.5)
    for key in ("image", "position"):
        # Voxel (1, 2, 0) of the part is (1, 2, 4) of the whole.
        assert torch.allclose(
            result[key].affine @ torch.tensor([1.0, 2, 0, 1]).double(), AFFINE @ torch.tensor([1.0, 2, 4, 1]).double()
        )
    assert result["image"].meta["filename_or_obj"] == "a"
    assert result["slices"] == [4, 7] and result["stamp"] == "x"
    assert item["image"] is image and image.shape[-1] == 9  # what was given is as it was


def test_an_item_without_a_range_is_passed_on_as_it_is() -> None:
    item = {"image": scan(), "stamp": "x"}
    result = SliceRanged("image")(item)
    assert result == item and result["image"] is item["image"] and result is not item
    assert SliceRanged("image", range_key="part")({**item, "slices": [1, 3]})["image"].shape[-1] == 9
    assert SliceRanged("image", range_key="part")({**item, "part": [1, 3]})["image"].shape[-1] == 2


def test_no_channel_a_plain_tensor_and_a_missing_key() -> None:
    item = {"image": torch.ones(1, 3, 3, 6), "position": torch.zeros(0, 3, 3, 6), "slices": [0, 2]}
    result = SliceRanged(["image", "position"])(item)
    assert result["image"].shape == (1, 3, 3, 2) and result["position"].shape == (0, 3, 3, 2)
    with pytest.raises(KeyError, match="label"):
        SliceRanged(["image", "label"])(item)
    assert SliceRanged(["image", "label"], allow_missing_keys=True)(item)["image"].shape == (1, 3, 3, 2)


@pytest.mark.parametrize("wrong", [[3, 3], [5, 10], [-2, 4], [6, 2]])
def test_a_range_outside_the_volume_is_refused(wrong: list[int]) -> None:
    with pytest.raises(ValueError, match=f"slices: {wrong[0]} to {wrong[1]} of 'image', which has 9 slices"):
        SliceRanged("image")({"image": scan(), "slices": wrong})
