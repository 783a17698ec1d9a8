# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The tables of docs/benchmarks.md are those of the scores beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ablations import ABLATIONS, ablation_table
from family import FOLDER, add, read_scores, table, with_table

from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import write_results

DATASETS = sorted({path.stem.split("_setting")[0] for path in FOLDER.glob("*.csv")})
SETTINGS = {"dataset": "set", "split": "within", "protocol": "ep1", "ways": "independent", "runs": 1}
DICE = {
    "adnet": (0.4, 0.6, 0.5),
    "panet": (0.3, 0.5, 0.4),
    "panet:align=0": (0.9, 0.55, 0.0),
    "untrained network": (0.1, 0.1, 0.1),
}


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_tables_in_the_docs_are_those_of_the_scores(dataset: str) -> None:
    text = (FOLDER.parent / "benchmarks.md").read_text(encoding="utf-8")
    assert table(sorted(FOLDER.glob(f"{dataset}_setting*.csv"))) in text


def test_there_are_scores() -> None:
    assert DATASETS


def evaluation(folder: Path, method: str, shift: float = 0.0, folds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Results of one method and its baseline: four organs of three queries in as many folds."""
    entries = [
        Entry(fold, 0, f"case_{fold}", label, name, own, dice + shift + gain, 10.0, float("nan"), "scored")
        for own in (method, "untrained network")
        for fold, dice in enumerate(DICE[own])
        if fold in folds
        for label, name, gain in (
            (1, "liver", 0.1),
            (2, "right_kidney", 0),
            (3, "left_kidney", 0),
            (4, "spleen", -0.05),
        )
    ]
    settings = {**SETTINGS, "bundle": method, "labelled_slices": 3, "command": "a path", "notes": []}
    write_results(folder, Results(settings, entries))
    return folder


def test_scores_are_added_method_by_method(tmp_path: Path) -> None:
    target = tmp_path / "set_setting1_ep1.csv"
    add(evaluation(tmp_path / "a", "adnet"), target)
    add(evaluation(tmp_path / "b", "panet"), target)
    add(evaluation(tmp_path / "c", "adnet", 0.1), target)  # anew
    found = read_scores(target)
    assert [entry.method for entry in found[::12]] == ["panet", "untrained panet", "adnet", "untrained adnet"]
    assert found[24].dice == pytest.approx(0.6) and np.isnan(found[24].assd)
    add(evaluation(tmp_path / "d", "panet", 0.2, folds=(1,)), target)
    found = [entry for entry in read_scores(target) if entry.method == "panet" and entry.name == "liver"]
    assert {entry.fold: entry.dice for entry in found} == pytest.approx({0: 0.4, 1: 0.8, 2: 0.5})
    assert "a path" not in target.read_text(encoding="utf-8")


def test_a_table_by_hand(tmp_path: Path) -> None:
    target = tmp_path / "set_setting1_ep1.csv"
    for method in ("adnet", "panet"):
        add(evaluation(tmp_path / method, method), target)
    rows = {
        row.split("|")[3].strip(): [c.strip() for c in row.split("|")[1:-1]] for row in table([target]).splitlines()
    }
    assert rows["Method"][:8] == [
        "Setting",
        "Protocol",
        "Method",
        "liver",
        "right kidney",
        "left kidney",
        "spleen",
        "Mean",
    ]
    sd = np.std(DICE["adnet"]) * 100
    assert rows["adnet"][3:] == [
        f"60.0 ± {sd:.1f}",
        *[f"50.0 ± {sd:.1f}"] * 2,
        f"45.0 ± {sd:.1f}",
        "51.2 ± 5.4",
        "",
        "",
        "",
    ]
    # All three queries are worse by the same: 1 / 2^3, the only other method.
    assert rows["panet"][8:] == ["-10.0", "1.0000", "0.1250"]
    assert rows["untrained panet"][3:8] == ["20.0 ± 0.0", "10.0 ± 0.0", "10.0 ± 0.0", "5.0 ± 0.0", "11.2 ± 5.4"]


@pytest.mark.parametrize("dataset", sorted({path.stem.split("_setting")[0] for path in ABLATIONS.glob("*.csv")}))
def test_the_ablations_in_the_docs_are_those_of_the_scores(dataset: str) -> None:
    text = (FOLDER.parent / "benchmarks.md").read_text(encoding="utf-8")
    assert ablation_table(sorted(ABLATIONS.glob(f"{dataset}_setting*.csv"))) in text


def test_a_recipe_stands_below_its_method_on_the_same_folds(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    name = "set_setting1_ep1.csv"
    for method in ("adnet", "panet"):
        add(evaluation(tmp_path / method, method), tmp_path / name)
    add(evaluation(tmp_path / "r", "panet:align=0", folds=(0, 1)), tmp_path / "recipes" / name)
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in ablation_table([tmp_path / "recipes" / name], tmp_path).splitlines()
    ]
    assert rows[0][-3:] == ["difference", "above in", "before training"]
    # liver is above the kidneys by 10 points, the spleen below by 5; folds 0 and 1 alone
    assert rows[2:] == [
        ["EP1", "panet", "50.0", "40.0", "40.0", "35.0", "41.2", "", "", "11.2"],
        ["EP1", "panet:align=0", "82.5", "72.5", "72.5", "67.5", "73.8", "+32.5", "8 of 8", "11.2"],
    ]


def test_a_method_is_in_the_table_when_all_its_folds_are_there(tmp_path: Path) -> None:
    target = tmp_path / "set_setting1_ep1.csv"
    add(evaluation(tmp_path / "a", "adnet"), target)
    for folds, shown in (((0,), False), ((2,), False), ((1,), True)):
        add(evaluation(tmp_path / f"b{folds}", "panet", folds=folds), target)
        assert ("panet" in table([target])) == shown


def test_a_table_is_replaced_in_the_document() -> None:
    text = "# T\n\n## a: one\n\n| x |\n| y |\n\nmore\n\n## ab: two\n\n| z |\n"
    assert with_table(text, "a", "| 1 |\n| 2 |") == text.replace("| x |\n| y |", "| 1 |\n| 2 |")
    assert with_table(text, "ab", "| 3 |") == text.replace("| z |", "| 3 |")
    with pytest.raises(ValueError, match="c: the document has no heading"):
        with_table(text, "c", "| 1 |")


def test_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    add(evaluation(tmp_path / "a", "adnet"), tmp_path / "ep1.csv")
    with pytest.raises(ValueError, match=r"ep1\.csv: is not named <data set>_setting<1\|2>_<ep1\|ep2>\.csv"):
        table([tmp_path / "ep1.csv"])
