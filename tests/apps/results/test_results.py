# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Result files: what is written is read again, and the tables are the papers'."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import read_results, write_results
from monai_fss.results.markdown import markdown_table
from monai_fss.results.tables import summarize

SETTINGS: dict[str, Any] = {
    "bundle": "adnet",
    "dataset": "phantom",
    "split": "adnet 5 folds",
    "protocol": "EP2",
    "ways": 4,
    "runs": 2,
    "folds": 2,
    "labelled_slices": 1,
    "seeds": [0, 1],
    "command": "monai-fss evaluate",
}


def entry(case: str, dice: float, **changes: Any) -> Entry:
    base = Entry(0, 0, case, 1, "liver", "adnet", 0.0, 10.0, 2.0, "scored")
    return replace(base, dice=dice, **changes)


def table_of(means: dict[str, float]) -> Results:
    entries = [entry("a", value / 100, label=i, name=name) for i, (name, value) in enumerate(means.items(), 1)]
    return Results(SETTINGS, entries)


@pytest.mark.parametrize(
    ("organs", "mean", "deviation"),
    [
        ({"L kid": 75.28, "R kid": 83.28, "spleen": 75.92, "liver": 80.81}, 78.82, 3.35),
        ({"LV-BP": 87.53, "LV-MYO": 62.43, "RV": 77.31}, 75.76, 10.31),
    ],
)
def test_mean_column_of_table_1(organs: dict[str, float], mean: float, deviation: float) -> None:
    """ADNet's rows of Table 1: abdominal and cardiac MRI."""
    cell = summarize(table_of(organs))["adnet"]["Mean"]
    assert cell.mean == pytest.approx(mean, abs=0.006)
    assert cell.sd == pytest.approx(deviation, abs=0.006)
    assert cell.n == len(organs)


def test_organ_cell_is_over_fold_and_run_values() -> None:
    # (fold 0, run 0): 0.5 and 0.7 -> 60; (fold 0, run 1): 0.8 -> 80; (fold 1, run 0): 1.0 -> 100. Plain mean: 75.
    entries = [entry("a", 0.5), entry("b", 0.7), entry("a", 0.8, run=1), entry("c", 1.0, fold=1)]
    cell = summarize(Results(SETTINGS, entries))["adnet"]["liver"]
    assert cell.mean == pytest.approx(80)
    assert cell.sd == pytest.approx(math.sqrt((400 + 0 + 400) / 3))
    assert cell.n == 3


def test_absent_organs_and_undefined_distances() -> None:
    nan = math.nan
    entries = [
        entry("a", 0.8),
        entry("b", nan, hd95=nan, assd=nan, state="absent"),
        entry("c", 0.0, hd95=nan, assd=nan, state="absent_predicted"),
        entry("d", 0.0, hd95=nan, assd=nan),
    ]
    results = Results(SETTINGS, entries)
    assert summarize(results)["adnet"]["liver"].mean == pytest.approx(80 / 3)
    assert summarize(results, "hd95")["adnet"]["liver"].mean == 10.0
    nothing = summarize(Results(SETTINGS, [entries[1]]))["adnet"]
    assert nothing["liver"].n == nothing["Mean"].n == 0
    assert str(nothing["liver"]) == "-"


def test_unknown_measure() -> None:
    with pytest.raises(ValueError, match="unknown measure 'iou'"):
        summarize(table_of({"liver": 80}), "iou")


def full() -> Results:
    nan = math.nan
    entries = [entry(case, dice, run=run) for run in (0, 1) for case, dice in (("case_01", 0.75), ("case_02", 0.85))]
    entries.append(entry("case_01", 0.0, label=4, name="spleen", hd95=nan, assd=nan, state="absent_predicted"))
    entries.append(entry("case_02", nan, label=4, name="spleen", hd95=nan, assd=nan, state="absent"))
    entries += [entry(case, 0.25, method="mask paste") for case in ("case_01", "case_02")]
    return Results(SETTINGS, entries)


def test_files_round_trip(tmp_path: Path) -> None:
    results = full()
    paths = write_results(tmp_path / "new" / "folder", results)
    assert [path.name for path in paths] == ["results.json", "results.csv", "results.md"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)
    for source in (paths[0], paths[0].parent):
        again = read_results(source)
        assert again.settings == results.settings
        assert repr(again.entries) == repr(results.entries)  # nan is not equal to itself
    assert "NaN" not in paths[0].read_text(encoding="utf-8")


def test_csv_has_one_row_for_each_score(tmp_path: Path) -> None:
    results = full()
    with open(write_results(tmp_path, results)[1], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results.entries)
    assert float(rows[0]["dice"]) == 0.75
    assert rows[5]["dice"] == ""
    assert rows[5]["state"] == "absent"


def test_surface_dice_in_percent_with_its_tolerances(tmp_path: Path) -> None:
    rows = [entry("a", 0.5, nsd=0.25), entry("b", 0.5, nsd=0.75), entry("b", 0.5, label=2, name="heart", nsd=1.0)]
    text = write_results(tmp_path, Results({**SETTINGS, "tolerances": {"heart": 4.0}}, rows))[2].read_text("utf-8")
    table = text.split("## NSD (%)")[1].split("##")[0]
    (cells,) = [line.split("|")[2:-1] for line in table.splitlines() if line.startswith("| adnet")]
    assert [cell.strip() for cell in cells[:4]] == ["50.00", "100.00", "75.00 ± 25.00", "2"]
    assert "tolerances in mm: liver 5, heart 4." in table
    assert [one.nsd for one in read_results(tmp_path).entries] == [0.25, 0.75, 1.0]


def test_markdown_says_what_was_measured(tmp_path: Path) -> None:
    text = write_results(tmp_path, full())[2].read_text(encoding="utf-8")
    assert text.startswith("# adnet on phantom\n")
    for line in ("- split: adnet 5 folds", "- protocol: EP2", "- ways: 4", "- runs: 2", "- labelled slices: 1"):
        assert line in text
    assert "- queries: 2\n" in text
    dice = text.split("## Dice (%)")[1].split("##")[0]
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in dice.splitlines() if line.startswith("|")}
    assert [c.strip() for c in rows["adnet"]] == ["80.00 ± 0.00", "0.00", "40.00 ± 40.00", "2", "-", "-"]
    assert [c.strip() for c in rows["mask paste"]] == ["25.00", "-", "25.00", "2", "-", "-"]
    assert "n is small (2 < 50)" in dice
    assert "population standard deviation (ddof 0) over the (fold, run) values" in dice
    assert "- case_01 (spleen; adnet; fold 0, run 0)" in dice
    assert "1 neither present nor predicted (left out of the means)" in dice
    assert "## HD95 (mm)" in text
    assert "## ASSD (mm)" in text
    assert "## NSD" not in text  # scores of before it was measured


def test_quality_beside_the_volume(tmp_path: Path) -> None:
    dices = [0.1, 0.4, 0.7, 0.9]
    rows = [entry(f"c{i}", d, quality=d / 2, volume_ml=10.0 - d, label=1) for i, d in enumerate(dices)]
    rows += [entry("c0", 0.5, method="mask paste")]
    write_results(tmp_path, Results(SETTINGS, rows))
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("|")}
    # risks 90, 60, 30, 10: kept from the best 10, 20, 33.3, 47.5; from the worst 90, 75, 60, 47.5
    assert [float(cell) for cell in lines["quality"]] == [1.0, 1, 1.0, 2, 27.7, 4]
    assert [float(cell) for cell in lines["organ volume"]] == [-1.0, 1, 0.0, 2, 68.1, 4]
    assert lines["the Dice itself"][4].strip() == "27.7" and lines["no score"][4].strip() == "47.5"
    back = read_results(tmp_path).entries
    assert [e.quality for e in back[:4]] == [d / 2 for d in dices] and math.isnan(back[4].quality)
    # A file from before these columns.
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    for row in content["entries"]:
        del row["quality"], row["volume_ml"], row["nsd"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert all(math.isnan(e.quality) for e in read_results(tmp_path).entries)


def test_baselines_have_no_distances_and_are_not_counted_as_if_they_had(tmp_path: Path) -> None:
    nan = math.nan
    rows = [entry("a", 0.8), entry("b", 0.0, hd95=nan, assd=nan)]
    for baseline in ("mask paste", "untrained network", "untrained adnet"):
        rows += [entry(case, 0.5, method=baseline, hd95=nan, assd=nan) for case in ("a", "b")]
    text = write_results(tmp_path, Results(SETTINGS, rows))[2].read_text(encoding="utf-8")
    distances = text.split("## HD95 (mm)")[1]
    assert "nothing was predicted of a present organ: 1:\n\n- b (liver; adnet; fold 0, run 0)\n" in distances
    assert "The baselines (mask paste, untrained network, untrained adnet) are compared by Dice alone." in distances
    assert not [line for line in distances.splitlines() if line.startswith(("| mask", "| untrained", "- a"))]
    write_results(tmp_path, Results(SETTINGS, rows[:1]))
    assert "baselines" not in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_quality_of_each_method_by_itself(tmp_path: Path) -> None:
    dices = [0.1, 0.4, 0.7, 0.9]
    rows = [entry(f"c{i}", d, quality=d / 2, volume_ml=1.0) for i, d in enumerate(dices)]
    rows += [entry(f"c{i}", d, quality=1 - d, volume_ml=d, method="atlas") for i, d in enumerate(dices)]
    text = write_results(tmp_path, Results(SETTINGS, rows))[2].read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("|")}
    assert [float(cell) for cell in lines["adnet: quality"]] == [1.0, 1, 1.0, 2, 27.7, 4]
    assert [float(cell) for cell in lines["atlas: quality"]] == [-1.0, 1, 0.0, 2, 68.1, 4]
    assert [float(cell) for cell in lines["atlas: organ volume"]] == [1.0, 1, 1.0, 2, 27.7, 4]
    assert "quality" not in lines


def test_intervals_are_over_the_cases(tmp_path: Path) -> None:
    """Means of organs 40, 50, 60: standard error 5.77, t of two degrees of freedom 4.303."""
    rows = [
        entry(case, dice, name=name, label=label) for case, *both in ROWS for label, (name, dice) in enumerate(both)
    ]
    dice = write_results(tmp_path, Results(SETTINGS, rows))[2].read_text("utf-8").split("## Dice (%)")[1]
    (cells,) = [line.split("|")[2:-1] for line in dice.splitlines() if line.startswith("| adnet")][:1]
    assert [cell.strip() for cell in cells[3:5]] == ["3", "25.2 to 74.8"]
    low, high = map(float, cells[5].split(" to "))
    assert 40 <= low < 50 < high <= 60


ROWS: list[tuple[Any, ...]] = [
    ("a", ("liver", 0.3), ("spleen", 0.5)),
    ("b", ("liver", 0.4), ("spleen", 0.6)),
    ("c", ("liver", 0.5), ("spleen", 0.7)),
]


def test_how_far_the_dice_is_from_the_quality(tmp_path: Path) -> None:
    rows = [entry(f"c{i}", 0.5 + i / 100, quality=0.5, volume_ml=1.0) for i in range(1, 10)]
    text = write_results(tmp_path, Results(SETTINGS, rows))[2].read_text("utf-8")
    assert "adnet: the Dice lies within 0.09 of the quality for 90 % of the masks." in text
    rows.append(entry("c10", 0.5, quality=0.5, volume_ml=1.0))
    text = write_results(tmp_path, Results(SETTINGS, rows))[2].read_text("utf-8")
    assert "within 0.09 of the quality for 90 % of the masks; by the other scans' masks it held for 90 % of 10." in text


def test_not_a_result_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="results.json: no such file. Name a folder"):
        read_results(tmp_path)
    path = tmp_path / "results.json"
    path.write_text("{half")
    with pytest.raises(ValueError, match="results.json: not a JSON file"):
        read_results(path)
    path.write_text('{"labels": {}}')
    with pytest.raises(ValueError, match="not a result file: its format is None"):
        read_results(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="its format is 'list'"):
        read_results(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99, but this package reads 1"),
        ({"settings": None}, "settings or entries are missing"),
        ({"settings": {"bundle": "adnet"}}, "settings: dataset, split, protocol, ways, runs, labelled_slices missing"),
        ({"entries": [{"fold": 0}]}, "entry 0 is damaged"),
        ({"entries": [1]}, "entry 0 is damaged"),
    ],
)
def test_damaged_result_file(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_results(tmp_path, full())[0]
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}))
    with pytest.raises(ValueError, match=f"results.json: .*{message}"):
        read_results(path)


def test_wrong_entries() -> None:
    with pytest.raises(ValueError, match=r"case 'a': a Dice score of 80\.0 does not fit .*fraction 0\.\.1"):
        entry("a", 80.0)
    with pytest.raises(ValueError, match="a Dice score of nan does not fit the state 'scored'"):
        entry("a", math.nan)
    with pytest.raises(ValueError, match="unknown state 'ok'"):
        entry("a", 0.5, state="ok")
    with pytest.raises(ValueError, match="label is '1'. Give a value of type int"):
        entry("a", 0.5, label="1")
    with pytest.raises(ValueError, match=r"\(0, 0, 'a', 1, 'adnet'\) occur twice"):
        Results(SETTINGS, [entry("a", 0.5), entry("a", 0.6)])


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    assert markdown_table(["a|b"], [["c"]]).splitlines() == ["| a\\|b |", "| ---- |", "| c    |"]
