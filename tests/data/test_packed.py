# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Model files of earlier versions, whose numbers of PRNet had no names."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from monai_fss.data import read_model, save_model
from monai_fss.data.files.packed import named
from monai_fss.networks.nets import PRNet

GROWTH = {"limit": 50.0, "intensity_weight": 0.03, "iterations": 4}
PACKED = {"coarse": [8.0, 32, 32, 48, 500, 500, 700], "fine": [4.0, 16, 32, 32, 150, 150, 150], "base": 8}
NAMED = {
    "coarse": {"pixdim": 8.0, "patch_size": [32, 32, 48], "reach": [500, 500, 700]},
    "fine": {"pixdim": 4.0, "patch_size": [16, 32, 32], "reach": [150, 150, 150]},
    "base": 8,
}


@pytest.mark.parametrize("settings", [PACKED | {"growth": [50.0, 0.03, 4]}, NAMED | {"growth": GROWTH}])
def test_numbers_of_earlier_files_get_their_names(settings: dict[str, Any], tmp_path: Path) -> None:
    before = copy.deepcopy(settings)
    save_model(tmp_path / "model.pt", nn.Linear(2, 3), settings)
    assert read_model(tmp_path / "model.pt")["settings"] == NAMED | {"growth": GROWTH}
    assert settings == before
    one, other = (PRNet.of_level(NAMED[level], 2) for level in ("coarse", "fine"))
    assert (
        one.patch_size == (32, 32, 48) and one.spacing.tolist() == [8.0] * 3 and one.reach.tolist() == [500, 500, 700]
    )
    assert other.patch_size == (16, 32, 32)


def test_other_lists_stay_and_a_level_without_names_is_refused() -> None:
    assert named({"window": [1, 2, 3], "coarse": [8.0], "growth": {"limit": 3.0}}) == {
        "window": [1, 2, 3],
        "coarse": [8.0],
        "growth": {"limit": 3.0},
    }
    with pytest.raises(ValueError, match=r"a level of PRNet is a mapping that has reach too, got {'pixdim'"):
        PRNet.of_level({"pixdim": 8.0, "patch_size": [32, 32, 32]})
    with pytest.raises(ValueError, match="pixdim, patch_size, reach too, got"):
        PRNet.of_level([8.0])  # type: ignore[arg-type]
