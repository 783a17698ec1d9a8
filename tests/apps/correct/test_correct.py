# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss correct`: an edited mask is a label from now on, and better masks replace the old ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from correct_scene import CASES, Corrected, voxels

from monai_fss.apps.correct import rounds
from monai_fss.data import Segment, write_seg_nrrd
from monai_fss.handlers.segment_report import SegmentReport
from monai_fss.metrics import strict_dice

pytestmark = pytest.mark.usefixtures("one_thread")
FIRST = CASES[0]


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([strict_dice(mask == v, truth == v) for v in np.unique(truth)[1:]]))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pt"}


def edited_in_slicer(scene: Corrected, path: Path) -> Path:
    """The truth of the first case with the values that another program gave, which names its segments."""
    import nibabel as nib

    label: Any = nib.Nifti1Image.from_filename(scene.truth(FIRST))
    named = {int(row["label"]): row["name"] for row in scene.rows()}
    values = sorted(named)
    other = dict(zip(values, reversed(values), strict=True))
    array = np.asarray(label.dataobj)
    turned = sum(((array == v) * w for v, w in other.items()), np.zeros(array.shape, int))
    organs = [Segment(w, named[v].upper().replace("_", " "), "#102030") for v, w in other.items()]
    return write_seg_nrrd(turned, label.affine, organs, path)


def test_an_edited_mask_is_a_label_and_better_masks_are_taken(
    scene: Corrected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {case: scene.mask(case) for case in CASES}
    kept = len(list((scene.out / "cache").glob("register-*")))
    assert kept == 2 * len(CASES), "there and back"
    assert scene.correct("--label", f"{FIRST}={edited_in_slicer(scene, tmp_path / 'e.seg.nrrd')}", "--all") == 0
    said = capsys.readouterr().out
    assert f"2 of 3 scan(s) are segmented again by 2 labelled scan(s): support, {FIRST}" in said
    assert "Expected: about " in said and "next (expected gain" in said
    assert len(list((scene.out / "cache").glob("register-*"))) == kept + 2 * 2, "the new label's registrations alone"
    np.testing.assert_array_equal(scene.mask(FIRST), voxels(scene.truth(FIRST)))
    table = {(row["case"], row["label"]): row for row in scene.rows("correct.csv")}
    for case in CASES[1:]:
        new = scene.out / "history" / "001" / "new" / f"{case}.nii.gz"
        replaced = not new.exists()
        truth = voxels(scene.truth(case))
        assert dice(scene.mask(case), truth) >= dice(old[case], truth)
        assert table[case, "1"]["mask"] == ("replaced" if replaced else "kept")
        if replaced:
            np.testing.assert_array_equal(voxels(scene.out / "history" / "001" / f"{case}.nii.gz"), old[case])
        else:
            np.testing.assert_array_equal(scene.mask(case), old[case])
    np.testing.assert_array_equal(voxels(scene.out / "history" / "001" / f"{FIRST}.nii.gz"), old[FIRST])
    rows = [row for row in scene.rows() if row["case"] == FIRST]
    assert {row["quality"] for row in rows} == {""} and all("corrected by hand" in row["note"] for row in rows)
    assert [row["case"] for row in scene.rows()][:: len(rows)] == CASES
    before = files(scene.out)
    assert scene.correct("--label", f"{FIRST}={tmp_path / 'e.seg.nrrd'}", "--all") == 0
    assert "Round 1 has taken these labels." in capsys.readouterr().out and files(scene.out) == before
    assert scene.correct("--forget") == 0
    assert {p.name for p in (scene.out / "history" / "001").iterdir()} == {"labels"}


def test_an_edited_mask_need_not_show_every_organ(scene: Corrected, tmp_path: Path) -> None:
    """What one labelled scan lacks, as an organ that was taken out, the others still show."""
    import nibabel as nib

    label: Any = nib.Nifti1Image.from_filename(scene.truth(FIRST))
    array = np.asarray(label.dataobj)
    values = [int(row["label"]) for row in scene.rows() if row["case"] == FIRST]
    gone, left = values[0], values[1]
    old = {case: scene.mask(case) for case in CASES[1:]}
    edited = tmp_path / "edited.nii.gz"
    nib.save(nib.Nifti1Image(np.where(array == gone, 0, array), label.affine, label.header), edited)
    assert scene.correct("--label", f"{FIRST}={edited}", "--all", "--replace", "always") == 0
    assert not (scene.mask(FIRST) == gone).any() and (scene.mask(FIRST) == left).any()
    for case, before in old.items():
        assert strict_dice(scene.mask(case) == gone, before == gone) > 0.9, "by the one that shows it, as before"
        assert strict_dice(scene.mask(case) == left, before == left) < 0.9, "by both"


def test_only_what_may_gain_is_done_and_all_is_replaced_on_demand(
    scene: Corrected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    review = tmp_path / "fix.txt"
    review.write_text(f"{CASES[2]}\n\n{FIRST}\n")
    words = ("--label", f"{FIRST}={scene.truth(FIRST)}", "--review", str(review))
    assert scene.correct(*words, "--dry-run") == 0
    assert not (scene.out / "history").exists()
    assert f"| {CASES[2]} | reviewed as bad |" in capsys.readouterr().out
    assert scene.correct(*words, "--replace", "always") == 0
    state = json.loads((scene.out / "history" / "rounds.json").read_text())["rounds"][0]
    assert state["why"][CASES[2]] == "reviewed as bad" and FIRST not in state["why"]
    assert {own["mask"] for case, own in state["masks"].items() if case != FIRST} == {"replaced"}
    assert scene.correct("--label", f"{CASES[1]}={scene.truth(CASES[1])}") == 0, "a second round"
    state = json.loads((scene.out / "history" / "rounds.json").read_text())["rounds"][1]
    assert list(state["why"]) == [CASES[2]] and state["number"] == 2


@pytest.mark.parametrize("place", ["segmenting", "moving"])
def test_an_interrupted_round_goes_on(
    place: str, scene: Corrected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Corrected(shutil.copytree(scene.root, tmp_path / "other"))
    words = ("--label", f"{FIRST}={scene.truth(FIRST)}", "--all", "--replace", "always")
    assert other.correct(*words) == 0
    kind, name = (SegmentReport, "report") if place == "segmenting" else (rounds.History, "exchange")
    plain, calls = getattr(kind, name), []

    def press(self: Any, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, press)
        assert scene.correct(*words) == 1
    if place == "segmenting":
        assert scene.correct("--label", f"{CASES[1]}={scene.truth(CASES[1])}") == 2
        assert "was interrupted. Give the same command to go on, or --overwrite" in capsys.readouterr().err
    assert scene.correct(*words) == 0
    for case in CASES:
        np.testing.assert_array_equal(scene.mask(case), other.mask(case))
        old = f"history/001/{case}.nii.gz"
        np.testing.assert_array_equal(voxels(scene.out / old), voxels(other.out / old))
    assert scene.rows() == other.rows() and scene.rows("correct.csv") == other.rows("correct.csv")


def test_scans_of_a_validation_are_scored_and_never_labels(
    scene: Corrected, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = CASES[2]
    named = ("--validation", f"{kept}={scene.root / 'truth'}")
    before = dice(scene.mask(kept), voxels(scene.truth(kept)))
    assert scene.correct("--label", f"{kept}={scene.truth(kept)}", *named) == 2
    assert f"--validation {kept}: is labelled" in capsys.readouterr().err and not (scene.out / "history").exists()
    assert scene.correct("--label", f"{FIRST}={scene.truth(FIRST)}", *named) == 0
    after = dice(scene.mask(kept), voxels(scene.truth(kept)))
    rows = scene.rows("validation.csv")
    for number, value in (("0", before), ("1", after)):
        known = [float(row["dice"]) for row in rows if row["round"] == number and row["case"] == kept]
        assert np.mean(known) == pytest.approx(value, abs=1e-4)
    said = capsys.readouterr().out
    assert f"Dice of 1 validation scan(s) (%), round by round: {100 * before:.1f}, {100 * after:.1f}" in said
    assert f"Correct {CASES[1]} next" in said
    assert scene.correct("--label", f"{kept}={scene.truth(kept)}") == 2, "it is remembered"
