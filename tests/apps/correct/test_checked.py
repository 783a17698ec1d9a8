# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What corrected masks tell of those that were not: the interval, and before and after on the review page."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from correct_scene import CASES, Corrected, voxels
from review_scene import page_content_of

from monai_fss.apps.cli import main
from monai_fss.apps.correct.checked import read_radius, write_interval
from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.correct.history import History
from monai_fss.apps.correct.table import COLUMNS as TABLE_COLUMNS
from monai_fss.apps.correct.table import last_changes
from monai_fss.apps.methods.method import Method
from monai_fss.apps.segment.folder import deciding
from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.data import ScanError

FIRST, SECOND, LAST = CASES


def strict(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())


def test_corrections_give_an_interval_and_the_page_shows_before_and_after(
    scene: Corrected, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {case: scene.mask(case) for case in CASES}
    assert scene.correct("--label", f"{FIRST}={scene.truth(FIRST)}", "--all", "--replace", "always") == 0
    pairs = History(scene.out, _base(scene)).rounds[0]["checked"]
    truth = voxels(scene.truth(FIRST))
    assert {pair["label"] for pair in pairs} == {1, 2, 3, 4, 5}
    for pair in pairs:
        expected = strict(old[FIRST] == pair["label"], truth == pair["label"])
        assert pair["case"] == FIRST and pair["dice"] == pytest.approx(expected, abs=1e-4)
    assert "5 corrected mask(s) of organs; it takes 9 to say it with 90%" in capsys.readouterr().out
    assert not (scene.out / "interval.csv").exists()
    assert scene.correct("--label", f"{SECOND}={scene.truth(SECOND)}", "--all") == 0
    assert "Interval of the Dice score (90%, by 10 corrected masks of organs): quality +- " in capsys.readouterr().out
    known = read_radius(scene.out)
    assert known is not None and known["masks"] == 10
    rows = scene.rows("interval.csv")
    assert {row["case"] for row in rows} == {LAST}, "what is drawn by hand has no interval"
    for row in rows:
        assert float(row["dice_low"]) == pytest.approx(max(0.0, float(row["quality"]) - known["radius"]), abs=2e-4)
        assert float(row["dice_high"]) == pytest.approx(min(1.0, float(row["quality"]) + known["radius"]), abs=2e-4)

    assert main(["review", str(scene.out)]) == 0
    content = page_content_of(scene.out / "review" / "index.html")
    items = {(content["cases"][item["case"]]["name"], item["label"]): item for item in content["items"]}
    by_hand, again = items[FIRST, 1], items[LAST, 1]
    assert by_hand["before"]["mask"] == "corrected by hand" and by_hand["dice"] is None
    assert by_hand["before"]["round"] == 1 and again["before"]["round"] == 2
    quality = float(next(row["quality"] for row in rows if row["label"] == "1"))
    assert again["dice"][2:] == [90, 10]
    assert again["dice"][0] == pytest.approx(max(0.0, quality - known["radius"]), abs=0.006)
    table = next(row for row in scene.rows("correct.csv") if (row["round"], row["case"]) == ("2", LAST))
    assert again["before"]["volume"] == pytest.approx(float(table["volume_before_ml"]))


def _base(scene: Corrected) -> object:
    return deciding(SegmentedFolder.read(scene.out).inputs)


def test_the_interval_is_the_conformal_radius_of_all_rounds(tmp_path: Path) -> None:
    off = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.3])
    pairs = [{"case": "a", "label": n, "quality": 0.5 + d, "dice": 0.5} for n, d in enumerate(off)]
    history = History(tmp_path, {})
    history.rounds = [{"number": 1, "labels": {}, "done": True, "checked": pairs[:4]}]
    history.rounds += [{"number": 2, "labels": {}, "done": True, "checked": pairs[4:]}]
    history.rounds += [{"number": 3, "labels": {}, "checked": pairs}]  # not finished: does not count
    row = {"case": "b", "label": "1", "name": "liver", "volume_ml": "1", "quality": "0.9", "note": "", "similarity": ""}
    unrated = {**row, "case": "c", "quality": ""}
    files = MaskFiles("nifti", False, ["b"])
    run = SegmentedFolder(tmp_path, Method("atlas"), {}, tmp_path, {"b": tmp_path}, [row, unrated], files, None)
    assert "quality +- 0.30" in write_interval(run, history), "of nine the largest"
    with (tmp_path / "interval.csv").open(newline="") as stream:
        found = list(csv.reader(stream))
    assert found[1:] == [["b", "1", "liver", "0.9", "0.6000", "1.0000"]]
    assert read_radius(tmp_path) == {"coverage": 0.9, "masks": 9, "radius": 0.3}


def test_damaged_files_of_corrections_are_named(tmp_path: Path) -> None:
    assert read_radius(tmp_path) is None
    (tmp_path / "interval.json").write_text('{"masks": 9}')
    with pytest.raises(ScanError, match=r"interval.json: is damaged \('coverage'\)"):
        read_radius(tmp_path)
    assert last_changes(tmp_path) == {}
    cells = ["1", "a", "kept", "", "1", "liver", "2.0", "2.0", "high", ""]
    (tmp_path / "correct.csv").write_text(",".join(TABLE_COLUMNS) + "\n" + ",".join(cells) + "\n")
    with pytest.raises(ScanError, match="correct.csv: is damaged .*'high'"):
        last_changes(tmp_path)
