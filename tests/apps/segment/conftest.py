# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scenes of `monai-fss segment`: one to change, and one that is finished."""

from __future__ import annotations

from pathlib import Path

import pytest
from segment_scene import Scene, make_scene

from monai_fss.apps.cli import main


@pytest.fixture
def scene(phantom_set: Path, trained: Path, tmp_path: Path) -> Scene:
    return make_scene(tmp_path, phantom_set, trained)


@pytest.fixture(scope="module")
def done(phantom_set: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A finished run with everything on. Do not change it."""
    scene = make_scene(tmp_path_factory.mktemp("segment"), phantom_set, trained)
    assert main(scene.words("--probabilities")) == 0
    return scene
