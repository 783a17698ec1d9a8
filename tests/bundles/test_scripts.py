# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The bundles' scripts: runnable, short, and without code of their own that a bundle should not have."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_fss.data import DatasetFolder

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SCRIPTS = sorted(BUNDLES.glob("*/scripts/*.py"))
NAMES = [f"{path.parents[1].name}/{path.name}" for path in SCRIPTS]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Exit code of a script without the start of an interpreter."""

    def run(path: Path, *words: str) -> int:
        monkeypatch.setattr(sys, "argv", [str(path), *words])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(path), run_name="__main__")
        assert isinstance(stop.value.code, int)
        return stop.value.code

    return run


def write_nifti(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag((1.0, 1.0, 3.0, 1.0))), path)


def test_every_bundle_has_a_script() -> None:
    assert {path.parents[1] for path in SCRIPTS} == {path for path in BUNDLES.iterdir() if (path / "configs").is_dir()}


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_help_says_what_the_script_makes(
    path: Path, typed: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(path, "--help") == 0
    said = capsys.readouterr().out
    assert "--source" in said and "--output" in said and f"python {path.name} --source" in said


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_scripts_are_short_and_import_the_package_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.startswith("# Copyright (c) monai_fss contributors\n# Licensed under the Apache License, Version 2.0")
    assert ast.get_docstring(tree) and len(text.splitlines()) <= 50
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not getattr(node, "level", 0)
            assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names) | {"monai_fss"}
            assert not any(name.startswith("monai_fss.apps") for name in names)


@pytest.mark.parametrize("path", SCRIPTS, ids=NAMES)
def test_a_folder_that_is_not_there_is_refused(
    path: Path, typed: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--source", str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    if path.name == "prepare_structseg.py":
        words += ["--brain-stem", "1", "--right-parotid", "2", "--left-parotid", "3"]
    assert typed(path, *words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'none'}: is not a folder. ") and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_alpnet_cuts_borders_and_intensities(environment: dict[str, str], tmp_path: Path) -> None:
    """The whole way of a script that names what its paper cuts off, in an interpreter of its own."""
    image = np.random.default_rng(0).integers(-1000, 1000, (70, 68, 3)).astype(np.int16)
    label = np.random.default_rng(1).integers(0, 14, image.shape).astype(np.uint8)
    for number in (1, 2, 3, 21, 22):
        write_nifti(tmp_path / "in" / f"img00{number:02d}.nii.gz", image + number)
        write_nifti(tmp_path / "in" / f"label00{number:02d}.nii.gz", label)
    script = BUNDLES / "alpnet" / "scripts" / "prepare_btcv.py"
    command = [sys.executable, str(script), "--source", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and "5 labelled cases instead of 30" in done.stderr
    assert f"monai-fss check {tmp_path / 'out'}" in done.stdout
    data = DatasetFolder.read(tmp_path / "out")
    data.check()
    assert data.labels == {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "liver": 6}
    assert list(data.cases) == ["case_01", "case_02", "case_03", "case_21", "case_22"] and len(data.folds) == 5
    made = nib.Nifti1Image.from_filename(tmp_path / "out" / "images" / "case_21.nii.gz")
    np.testing.assert_array_equal(made.dataobj, np.clip(image + 21, -125, 275)[32:-32, 32:-32])
    np.testing.assert_allclose(made.affine[:3, 3], (32, 32, 0))
    kept = nib.Nifti1Image.from_filename(tmp_path / "out" / "labels" / "case_21.nii.gz")
    inner = label[32:-32, 32:-32]
    np.testing.assert_array_equal(kept.dataobj, np.where(np.isin(inner, (1, 2, 3, 6)), inner, 0))
