# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A finished folder of masks for the tests of corrections."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from correct_scene import Corrected, make, true_dice
from known_atlas import as_they_lie

from monai_fss.inferers import Atlas
from monai_fss.registration import scan_distances


@pytest.fixture(scope="module", autouse=True)
def no_registration() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monai_fss.inferers.atlas.register", as_they_lie)
        patch.setattr("monai_fss.inferers.atlas.side_ratio", lambda query, scan: 1.0)
        patch.setattr(Atlas, "reverse_accuracy", true_dice)
        patch.setattr(scan_distances, "affine", lambda fixed, moving: np.eye(4))
        yield


@pytest.fixture(scope="module")
def segmented(no_registration: None, tmp_path_factory: pytest.TempPathFactory, phantom_set: Path) -> Corrected:
    """Do not change it."""
    scene = make(tmp_path_factory.mktemp("correct"), phantom_set)
    before = os.getcwd()
    os.chdir(scene.root)
    assert scene.segment() == 0
    os.chdir(before)
    return scene


@pytest.fixture
def scene(segmented: Corrected, tmp_path: Path) -> Corrected:
    """A copy: its report names the scans of the original, which stay what they are."""
    shutil.copytree(segmented.root, tmp_path / "scene")
    return Corrected(tmp_path / "scene")
