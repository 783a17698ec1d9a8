# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss demo`, made tiny: what it writes, what it leaves alone, how it goes on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_fss.apps import demo as module
from monai_fss.apps.cli import main

ROWS = ["atlas, whole labelled scan", "ADNet, one labelled slice", "best threshold", "affinely moved mask"]
ORGANS = ["liver", "right kidney", "left kidney", "spleen", "aorta"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "one_thread", "registered_once")]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, small: object) -> None:
    """Four training scans and three queries of 64 x 64 x 12 voxels, those of other tests' registrations; two steps."""
    settings = {**small("adnet"), "val_queries": 0, "steps_per_epoch": 1}  # type: ignore[operator]
    settings.pop("steps")
    monkeypatch.setattr(module, "TRAINING", 4)
    monkeypatch.setattr(module, "QUERIES", 3)
    monkeypatch.setattr(module, "SEEDS", {"training": 1000, "test": 0})
    monkeypatch.setattr(module, "PHANTOM", {"shape": (64, 64, 12), "spacing": (5, 5, 16)})
    monkeypatch.setattr(module, "SETTINGS", settings)
    monkeypatch.setattr(
        module, "ATLAS_SETTINGS", {"preset": "fast", "starts": 1, "spacing": [6, 6, 10], "quality": False}
    )


def words(folder: Path, *more: str) -> list[str]:
    return ["demo", "--output", str(folder), "--steps", "2", *more]


def read(path: Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert main(words(folder)) == 0
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    assert "\n".join(lines) in capsys.readouterr().out
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["Dice, %", *ORGANS, "mean"] and [row[0] for row in cells[2:]] == ROWS
    cases = [f"case_{number:02d}" for number in (2, 3, 4)]
    assert sorted(p.name for p in (folder / "masks").glob("*.nii.gz")) == [f"{case}.nii.gz" for case in cases]
    assert len(list((folder / "masks" / "overlays").glob("*.png"))) == 3
    assert "liver" in (folder / "masks" / "quality.csv").read_text(encoding="utf-8")
    truths = [read(folder / "test" / "labels" / f"{case}.nii.gz") for case in cases]
    for part, row in (("atlas", cells[2]), ("masks", cells[3])):
        masks = [read(folder / part / f"{case}.nii.gz") for case in cases]
        pairs = list(zip(masks, truths, strict=True))
        expected = [100 * np.mean([dice(mask == v, truth == v) for mask, truth in pairs]) for v in range(1, 6)]
        np.testing.assert_allclose([float(cell) for cell in row[1:]], [*expected, np.mean(expected)], atol=0.051)

    assert main(words(folder)) == 2
    assert "table.md: exists already." in capsys.readouterr().err

    # killed between the masks and the table: neither trained nor segmented again
    (folder / "table.md").unlink()
    parts = ("atlas", "model", "masks", "training")
    before = {p: p.stat().st_mtime_ns for part in parts for p in (folder / part).rglob("*")}
    assert main(words(folder)) == 0
    assert (folder / "table.md").read_text(encoding="utf-8").splitlines() == lines
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_an_interrupted_demo_makes_its_scans_anew_and_overwriting_leaves_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / ".unfinished-training" / "images"
    half.mkdir(parents=True)
    (half / "case_01.nii.gz").write_bytes(b"half")
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "table.md").write_text("of an earlier demo")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "case_09.nii.gz").write_bytes(b"old")

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", stop)
    assert main(words(tmp_path, "--overwrite")) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["atlas", "mine.txt", "queries", "test", "training"]
    assert sorted(p.name for p in (tmp_path / "training" / "images").iterdir()) == [
        f"case_{number:02d}.nii.gz" for number in (1, 2, 3, 4)
    ]
    assert (tmp_path / "training" / "dataset.json").is_file()


def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(module.SETTINGS, "steps_per_epoch", 50)
    assert main(["demo", "--output", str(tmp_path / "demo"), "--steps", "70"]) == 2
    assert "--set steps=70: is not a multiple of steps_per_epoch=50." in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main(["demo", "--output", str(tmp_path / "file"), "--steps", "50"]) == 2
    assert "file is a file. Give another folder." in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
