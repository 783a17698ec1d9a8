# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment` that is interrupted goes on; one that is finished is not written over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from segment_scene import CASES, Scene, read, rows, tree

from monai_fss.apps.cli import main
from monai_fss.handlers.segment_report import SegmentReport

pytestmark = pytest.mark.usefixtures("undrawn", "one_thread")


def interrupted(scene: Scene, case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C when the report of this case (counted from 1) is to be made: its mask is there, its row is not."""
    report, calls = SegmentReport.__call__, []

    def press(self: SegmentReport, engine: Any) -> None:
        calls.append(engine)
        if len(calls) == case:
            raise KeyboardInterrupt
        report(self, engine)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentReport, "__call__", press)
        assert main(scene.words()) == 1


def test_an_interrupted_run_goes_on_with_what_is_missing(
    done: Scene, scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scene.root / "out"
    interrupted(scene, 2, monkeypatch)
    assert "run the same command again to go on" in capsys.readouterr().err
    assert {row["case"] for row in rows(out)} == {"case_02"}
    assert not (out / "report.json").exists()
    assert not [p for p in out.rglob("*") if "unfinished" in p.name or p.stat().st_size == 0 and p.is_file()]
    before = tree(out)
    assert main(scene.words()) == 0
    assert "1 scan(s) segmented" in capsys.readouterr().out
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["segmented_now"] == ["case_03"]
    assert tree(out)["case_02.nii.gz"] == before["case_02.nii.gz"]
    assert rows(out) == rows(done.root / "out")
    for case in CASES:
        np.testing.assert_array_equal(read(out / f"{case}.nii.gz"), read(done.root / "out" / f"{case}.nii.gz"))


def test_a_scan_that_has_changed_since_its_mask_was_made_is_done_again(
    done: Scene, scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scene.root / "out"
    interrupted(scene, 2, monkeypatch)
    first, second = (scene.images / f"{case}.nii.gz" for case in CASES)
    first.write_bytes(second.read_bytes())  # exported anew: now it shows what the second one does
    assert main(scene.words()) == 0
    assert f"{CASES[0]}: changed since the mask was made; segmenting again" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["segmented_now"] == CASES
    assert len({entry["sha256"] for entry in report["inputs"]["queries"].values()}) == 1
    for case in CASES:
        np.testing.assert_array_equal(read(out / f"{case}.nii.gz"), read(done.root / "out" / f"{CASES[1]}.nii.gz"))


def test_a_run_goes_on_with_a_note_of_an_earlier_version_and_files_that_have_moved(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scene.root / "out"
    interrupted(scene, 2, monkeypatch)
    note = json.loads((out / ".run.json").read_text(encoding="utf-8"))
    del note["queries"]
    (out / ".run.json").write_text(json.dumps({**note, "support_image": ["/elsewhere/a.nii.gz"]}))
    assert main(scene.words()) == 0
    said = capsys.readouterr()
    assert "its note does not say what the scans held: 1 mask(s) are kept" in said.err
    assert "1 scan(s) segmented" in said.out


def test_a_half_written_mask_is_no_mask(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    save = nib.save

    def stop(image: Any, name: Any) -> None:
        Path(name).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nib, "save", stop)
        assert main(scene.words()) == 1
    assert nib.save is save
    assert not list((scene.root / "out").rglob("*.nii.gz"))
    assert main(scene.words()) == 0


def test_a_run_with_other_settings_does_not_go_on_with_an_interrupted_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(scene, 2, monkeypatch)
    before = tree(scene.root)
    assert main(scene.words("--labels", "1")) == 2
    assert "case_02.nii.gz: exists already. Give another output folder, or --overwrite." in capsys.readouterr().err
    assert tree(scene.root) == before


def test_a_finished_run_is_refused_unless_overwritten(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(scene.words("--no-overlays", "--no-quality")) == 0
    before = tree(scene.root)
    assert main(scene.words("--no-overlays", "--no-quality")) == 2
    err = capsys.readouterr().err
    assert err.count("exists already. Give another output folder, or --overwrite.") == 3, "two masks and the report"
    assert tree(scene.root) == before
    assert main(scene.words("--no-overlays", "--no-quality", "--overwrite", "--labels", "2")) == 0
    assert {row["label"] for row in rows(scene.root / "out")} == {"2"}
    assert tree(scene.root)["out/case_02.nii.gz"] > before["out/case_02.nii.gz"]


def test_a_scan_whose_rows_are_not_all_there_is_done_again_and_the_table_is_in_order(
    done: Scene, scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scene.root / "out"
    interrupted(scene, 2, monkeypatch)
    lines = (out / "quality.csv").read_bytes().splitlines(keepends=True)
    (out / "quality.csv").write_bytes(b"".join(lines[:3]) + lines[3][:5])  # as a machine leaves it that has stopped
    assert main(scene.words()) == 0
    assert "2 scan(s) segmented" in capsys.readouterr().out
    assert (out / "quality.csv").read_bytes() == (done.root / "out" / "quality.csv").read_bytes()
    (out / f"{CASES[0]}.nii.gz").unlink()
    assert main(scene.words("--cache-size", "1GB")) == 0, "what is kept changes no mask"
    assert "1 scan(s) segmented" in capsys.readouterr().out
    assert (out / "quality.csv").read_bytes() == (done.root / "out" / "quality.csv").read_bytes()
