# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The training command where it starts: what it refuses, and what an interpreter of its own adds.

The latter is asked of one bundle: that nothing here had been imported or set up before, and that the exit code leaves
the process.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle_command import train, training_words
from installed_bundles import TRAINED

Small = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize("name", TRAINED)
def test_training_command_refuses_a_folder_without_scans(
    name: str, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = repository / "bundles" / name
    settings = {"dataset_dir": tmp_path / "none", "output_dir": tmp_path / "out"}
    assert train(bundle, bundle, settings) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"{tmp_path / 'none'}: ")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def typed(repository: Path, environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    bundle = repository / "bundles" / "adnet"

    def run(folder: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monai.bundle", *training_words(bundle, folder, settings)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")

    return run


@pytest.mark.slow
def test_training_command_in_an_interpreter_of_its_own(
    typed: Any, small: Small, phantom_set: Path, repository: Path, tmp_path: Path
) -> None:
    """From the bundle's folder. MONAI's parser would run or replace the scans' names if it were handed them as text."""
    data, bundle = tmp_path / "data", repository / "bundles" / "adnet"
    for kind in ("images", "labels"):
        (data / kind).mkdir(parents=True)
        for number, name in enumerate(["$open('EVALUATED','w')", "@steps", "%steps", 'it\'s "#4"'], start=1):
            shutil.copy(phantom_set / kind / f"case_0{number}.nii.gz", data / kind / f"{name}.nii.gz")
    before = set(bundle.rglob("*"))
    done = typed(bundle, **small("adnet"), dataset_dir=data, output_dir=tmp_path / "out")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "model.pt").is_file()
    assert set(bundle.rglob("*")) == before


@pytest.mark.slow
def test_a_refusal_in_an_interpreter_of_its_own(typed: Any, repository: Path, tmp_path: Path) -> None:
    bundle = repository / "bundles" / "adnet"
    done = typed(bundle, dataset_dir=tmp_path / "none", output_dir=tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"{tmp_path / 'none'}: ")
    assert not (tmp_path / "out").exists()
