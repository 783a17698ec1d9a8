# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scans are taken for CT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_fss.apps.methods.ct_window import guessed_window, training_window
from monai_fss.data import InputWarning, Scan

WINDOW: dict[str, Any] = {"window": [-125, 275]}
CT = Scan(Path("ct.nii.gz"), (9, 9, 9), np.eye(4), (1, 1, 1), "int16", -1024, 3000, -1000, 800, "")
MR = replace(CT, path=Path("mr.nii.gz"), minimum=-150, low=0)
"""With a voxel of ringing."""


def test_the_darkest_hundredth_decides_and_a_known_modality_before_it() -> None:
    assert guessed_window(CT) == WINDOW and guessed_window(MR) == {}
    assert guessed_window(MR, "CT") == WINDOW and guessed_window(CT, "MR") == {}


def test_a_training_looks_at_its_scans_where_the_modality_is_not_known() -> None:
    known = {"window": None}
    assert training_window("", known, {}, [CT, CT]) == WINDOW
    assert training_window("", known, {}, [MR]) == {} == training_window("", known, {}, [])
    assert training_window("mr", known, {}, [CT]) == {} and training_window("ct", known, {}, [MR]) == WINDOW
    assert training_window("", known, {"window": None}, [CT]) == {} == training_window("", {"window": [0, 1]}, {}, [CT])
    with pytest.warns(InputWarning, match="mr.nii.gz: does not look like CT, and 1 of 2 scans do"):
        assert training_window("", known, {}, [CT, MR]) == {}
