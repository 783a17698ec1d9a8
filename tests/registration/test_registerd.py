# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registration as a dictionary transform."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose, Lambdad
from registration_scenes import about, dice, moved, scan

from monai_fss.registration import DisplacementField, Grid, Registerd, resample


def data() -> dict:
    (fixed, truth), (moving, label) = scan(0), scan(0)
    away = about(Grid.of(moving), (0, 0, 5), 1, (30, -20, 100))
    return {"image": fixed, "label": truth, "atlas": moved(moving, away), "atlas_mask": moved(label, away)}


@pytest.mark.slow
def test_image_labels_and_probabilities_land_on_the_fixed_grid() -> None:
    item = data()
    item["chance"] = type(item["atlas_mask"])(
        torch.cat([(item["atlas_mask"].as_tensor() == v).float() for v in (1, 2)]), affine=item["atlas_mask"].affine
    )
    transform = Registerd(["atlas", "chance"], "image", "atlas_mask", method="affine", starts=1, field_key="field")
    got = Compose([Lambdad("image", lambda x: x), transform])(item)
    assert got["atlas"].shape == item["image"].shape and got["chance"].shape == (2, *item["image"].shape[1:])
    assert all(Grid.of(got[key]).same(Grid.of(item["image"])) for key in ("atlas", "atlas_mask", "chance"))
    assert got["atlas_mask"].dtype == torch.uint8 and dice(item["label"], got["atlas_mask"]) > 0.9
    assert float((got["atlas"].as_tensor() - item["image"].as_tensor()).abs().mean()) < 0.05
    assert isinstance(got["field"], DisplacementField)
    again = resample(item["atlas_mask"], Grid.of(item["image"]), got["field"], mode="nearest")
    assert torch.equal(again.as_tensor(), got["atlas_mask"].as_tensor())
    assert got["image"] is item["image"] and Grid.of(item["atlas"]).affine[2, 3] != Grid.of(got["atlas"]).affine[2, 3]


@pytest.mark.slow
def test_missing_keys() -> None:
    item = data()
    with pytest.raises(KeyError, match="'support': is not in the data"):
        Registerd("support", "image")(item)
    with pytest.raises(KeyError, match="mask_of_nobody"):
        Registerd("atlas", "image", "mask_of_nobody", method="affine", starts=1)(item)
    got = Registerd("atlas", "image", "mask_of_nobody", method="affine", starts=1, allow_missing_keys=True)(item)
    assert "mask_of_nobody" not in got
