# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The window of one organ of a registered pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_fss.transforms import SampleOrganWindow


def pair(shape: tuple[int, int, int] = (20, 18, 9)) -> dict[str, torch.Tensor]:
    """Voxels know their place; organ 7 is at the near end of the target, and way 1 at the far end of the anchor."""
    place = torch.arange(float(np.prod(shape))).reshape(1, *shape)
    label, mask = torch.zeros(1, *shape, dtype=torch.int32), torch.zeros(2, 2, *shape, dtype=torch.uint8)
    label[0, :3, :3, :3] = 7
    mask[1, 0, -2:, -2:, -2:] = 255
    mask[1, 1, -2:, -2:, -2:] = 51
    return {"image": place, "anchor_image": -place, "label": label, "anchor_mask": mask}


def test_all_parts_are_cut_at_one_place_around_the_anchors_mask() -> None:
    sample = SampleOrganWindow((8, 8, 4))
    sample.set_random_state(0)
    starts = set()
    for _ in range(30):
        found = sample({**pair(), "way": 1, "value": 7})
        assert {key: tuple(part.shape) for key, part in found.items()} == {
            "image": (1, 8, 8, 4),
            "label": (1, 8, 8, 4),
            "support_image": (1, 8, 8, 4),
            "support_label": (2, 8, 8, 4),
        }
        assert torch.equal(found["image"], -found["support_image"])
        assert found["support_label"][0].max() == 1 and found["support_label"][1].max() == pytest.approx(0.2)
        starts.add(int(found["image"][0, 0, 0, 0]))
        first = np.unravel_index(int(found["image"][0, 0, 0, 0]), (20, 18, 9))
        assert torch.equal(
            found["image"][0], pair()["image"][0][tuple(slice(a, a + n) for a, n in zip(first, (8, 8, 4), strict=True))]
        )
    assert len(starts) > 1


def test_where_the_anchors_mask_is_nowhere_the_targets_is_in_the_window() -> None:
    sample = SampleOrganWindow((8, 8, 4))
    sample.set_random_state(0)
    assert all(sample({**pair(), "way": 0, "value": 7})["label"].any() for _ in range(10))


def test_a_smaller_pair_is_filled_up_at_the_far_end() -> None:
    found = SampleOrganWindow((24, 8, 12))({**pair(), "way": 1, "value": 7})
    assert found["image"].shape == (1, 24, 8, 12)
    assert not found["image"][0, 20:].any() and not found["image"][..., 9:].any() and found["image"][0, 19, :, 8].all()
    with pytest.raises(ValueError, match="spatial_size must be"):
        SampleOrganWindow((8, 8))
