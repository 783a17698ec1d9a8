# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What corrections decide: which scans gain, which masks are taken, what to correct next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_fss.apps.correct import advice
from monai_fss.apps.correct.edited import named_path
from monai_fss.apps.correct.folder import SegmentedFolder, mean_quality
from monai_fss.apps.correct.history import History
from monai_fss.apps.correct.plan import chosen, expected_minutes, plan_text, reviewed_cases
from monai_fss.apps.correct.rounds import _rows, decide
from monai_fss.apps.correct.validation import given_validation
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.method import Method
from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.data import ScanError, sha256_of, write_json
from monai_fss.handlers.segment_report import write_quality

QUALITY = {"a": 0.9, "b": 0.2, "c": 0.8, "d": 0.7, "e=f": 0.6, "g": 0.5}


def row(case: str, label: int, quality: float | str) -> dict[str, str]:
    name = {1: "liver", 2: "spleen"}[label]
    return {"case": case, "label": str(label), "name": name, "volume_ml": "1.00", "quality": str(quality)} | {
        "note": "",
        "similarity": "",
    }


@pytest.fixture
def folder(tmp_path: Path) -> SegmentedFolder:
    """Six scans with masks, of two organs whose mean quality is known."""
    rows = [row(case, label, q + (0.1 if label == 1 else -0.1)) for case, q in QUALITY.items() for label in (1, 2)]
    for case in QUALITY:
        (tmp_path / f"{case}.nii.gz").touch()
    scans, files = {case: tmp_path / "in" / case for case in QUALITY}, MaskFiles("nifti", False, QUALITY)
    inputs: dict[str, Any] = {"settings": {}, "support_label": []}
    return SegmentedFolder(tmp_path, Method("atlas"), inputs, tmp_path / "in", scans, rows, files, 30.0)


def test_scans_that_may_gain_and_the_time_they_take(folder: SegmentedFolder, tmp_path: Path) -> None:
    (tmp_path / "g.nii.gz").unlink()
    alike = {"a": {"a": 1.0, "b": 0.1, "c": 0.9, "d": 0.2, "e=f": 0.3, "g": 0.1}}
    why = chosen(folder, alike, ["a"], bad=["d", "a"], validation=["c"])
    assert why == {"b": "low quality", "c": "validation", "d": "reviewed as bad", "e=f": "like a", "g": "no mask"}
    assert list(chosen(folder, {}, ["a", "c"], every=True)) == ["b", "d", "e=f", "g"]
    assert expected_minutes(["b", "c"], {"b": 2, "c": 1, "d": 9}, 30.0) == 1.5
    assert expected_minutes(["b"], {"b": 2}, None) is None
    said = plan_text(folder, why, ["support", "a"], 12.34)
    assert said.startswith("5 of 6 scan(s) are segmented again by 2 labelled scan(s): support, a")
    assert "low quality |   0.200 |" in said and "about 12.3 minute(s). Do all with --all." in said


def test_a_mask_is_taken_where_its_mean_quality_is_not_lower(folder: SegmentedFolder, tmp_path: Path) -> None:
    history = History(tmp_path, {})
    entry: dict[str, Any] = {"number": 1, "labels": {"a": "0"}, "why": dict.fromkeys("bcd", "low quality")}
    history.rounds.append(entry)
    new = history.place(1, "new")
    better, worse = [row("b", 1, 0.9), row("b", 2, 0.1)], [row("c", 1, 0.7), row("c", 2, 0.8)]
    write_quality(new / "quality.csv", [*better, *worse])
    write_json(new / "report.json", {"scored": {"b": {"1": 0.5, "2": 0.5}, "c": {"1": 0.75, "2": 0.7501}}})
    decide(folder, history, entry, always=False)
    words = {case: own["mask"] for case, own in entry["masks"].items()}
    assert words == {"b": "replaced", "c": "kept", "d": "failed", "a": "corrected by hand"}
    assert entry["masks"]["b"]["files"] == ["b.nii.gz"] and entry["masks"]["b"]["before"] == 0.5
    table = {
        (r["case"], r["label"]): r["quality"] for r in _rows(folder, folder.rows, [*better, *worse], entry["masks"])
    }
    assert table["b", "1"] == "0.9" and table["c", "2"] == "0.7501", "taken; kept, with its score of now"
    assert table["d", "1"] == str(0.7 + 0.1)
    decide(folder, history, entry, always=True)
    assert entry["masks"]["c"]["mask"] == "replaced" and entry["masks"]["d"]["mask"] == "failed"
    assert mean_quality([row("a", 1, 0.5), row("a", 2, "")]) is None


def test_files_are_exchanged_once(tmp_path: Path) -> None:
    """Interrupted anywhere, the same call ends at the same files."""
    history, source = History(tmp_path, {}), tmp_path / "made"
    (tmp_path / "m.nii.gz").write_text("old")
    source.write_text("new")
    for _ in range(2):
        history.exchange(1, ["m.nii.gz", "gone.png"], {"m.nii.gz": source})
        assert (tmp_path / "m.nii.gz").read_text() == "new" and not source.exists()
        assert (history.place(1) / "m.nii.gz").read_text() == "old"
    (tmp_path / "m.nii.gz").unlink()  # as it is between the two steps
    source.write_text("new")
    history.exchange(1, ["m.nii.gz"], {"m.nii.gz": source})
    assert (tmp_path / "m.nii.gz").read_text() == "new" and (history.place(1) / "m.nii.gz").read_text() == "old"


def test_labels_of_scans_that_have_changed_are_refused(tmp_path: Path) -> None:
    history = History(tmp_path, {"a": (1, 2)})
    label = history.place(1, "labels", "c.nii.gz")
    label.parent.mkdir(parents=True)
    label.write_text("mask")
    entry = {"number": 1, "labels": {"c": sha256_of(label)}, "scans": {"c": "known"}, "done": True}
    history.rounds.append(entry)
    history.save()
    again = History(tmp_path, {"a": [1, 2]})
    assert again.label("c") == label and again.labels == entry["labels"] and again.open is None
    again.check_scans({"c": "known", "d": "other"})
    with pytest.raises(ScanError, match=r"the scan\(s\) of c have changed since their masks were corrected"):
        again.check_scans({"c": "other"})
    label.write_text("other mask")
    with pytest.raises(ScanError, match="c.nii.gz: has been changed or removed. Put it back, or move"):
        History(tmp_path, {"a": [1, 2]})


def test_what_to_correct_next_is_the_sum_of_gains(folder: SegmentedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"a": 0.0, "b": 5.0, "c": 0.1, "d": 0.2, "e=f": 0.3, "g": 0.4}  # b is bad, and like no other

    def apart(run: Any, cases: list[str]) -> np.ndarray:
        at = np.array([places[case] for case in cases])
        return np.abs(at[:, None] - at[None])

    monkeypatch.setattr(advice, "folder_distances", apart)
    order = advice.expected_order(folder, labelled=["a"], without=["g"])
    rated = {**QUALITY, "a": 1.0}
    expected = {
        c: sum((1 - rated[o]) * np.exp(-abs(places[c] - places[o])) for o in rated) for c in ("b", "c", "d", "e=f")
    }
    assert {gain.case: pytest.approx(gain.gain) for gain in order} == expected
    assert [gain.case for gain in order] == sorted(expected, key=lambda case: -expected[case]) and order[
        0
    ].case == "e=f"
    assert advice.alike_to(folder, ["a"])["a"]["c"] == pytest.approx(np.exp(-0.1))
    assert "Correct e=f next (expected gain" in advice.advice_text(order, whole=True)
    monkeypatch.setattr(advice, "MOST", 3)
    assert {gain.case for gain in advice.expected_order(folder)} == {"b", "e=f", "g"}
    folder.rows[0]["quality"] = ""
    with pytest.raises(UsageError, match="masks have no quality"):
        advice.expected_order(folder)


def test_names_with_signs_in_options(folder: SegmentedFolder, tmp_path: Path) -> None:
    assert named_path("e=f=x=y.nii", folder.scans, "--label") == ("e=f", Path("x=y.nii"))
    with pytest.raises(UsageError, match="--label z=1: is not CASE=FILE with one of the cases a, b"):
        named_path("z=1", folder.scans, "--label")
    labels = tmp_path / "l=1"
    labels.mkdir()
    for case in ("a", "e=f"):
        (labels / f"{case}.nii.gz").touch()
    assert given_validation(f"a,e=f={labels}", folder) == {c: labels / f"{c}.nii.gz" for c in ("a", "e=f")}
    assert list(given_validation(str(labels), folder)) == ["a", "e=f"]
    with pytest.raises(UsageError, match="has no label of b"):
        given_validation(f"a,b={labels}", folder)
    (tmp_path / "r.txt").write_text("a\nz\n")
    with pytest.raises(UsageError, match="--review .*r.txt: z: no such scan"):
        reviewed_cases(str(tmp_path / "r.txt"), folder)
