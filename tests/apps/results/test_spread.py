# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What deviations are over, by hand and by the papers' tables."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps import compare_command
from monai_fss.apps.evaluate import command
from monai_fss.apps.results.compare import compare, format_means
from monai_fss.inferers import EP1_RULES
from monai_fss.results import SPREADS, Entry, Results, read_results, write_results
from monai_fss.results.tables import summarize

SETTINGS: dict[str, Any] = {"bundle": "adnet", "dataset": "d", "split": "s", "protocol": "ep2", "ways": "independent"}
SETTINGS |= {"runs": 2, "labelled_slices": 1}
FOLDS = {"a": 0, "b": 0, "c": 1}
# Dice (%) of each case in two runs; the spleen of b is absent.
SCORES = {
    "liver": {"a": (50, 60), "b": (70, 80), "c": (90, 70)},
    "spleen": {"a": (20, 40), "b": (math.nan, math.nan), "c": (40, 80)},
}


def entry(case: str, fold: int, run: int, organ: str, dice: float) -> Entry:
    state = "absent" if math.isnan(dice) else "scored"
    return Entry(fold, run, case, 1 + list(SCORES).index(organ), organ, "adnet", dice / 100, 10.0, 2.0, state)


def scores() -> Results:
    rows = [
        entry(case, FOLDS[case], run, organ, dice)
        for organ, of in SCORES.items()
        for case, dices in of.items()
        for run, dice in enumerate(dices)
    ]
    return Results(SETTINGS, rows)


@pytest.mark.parametrize(
    ("spread", "liver", "spleen", "mean"),
    [
        # (fold, run): liver 60, 70 and 90, 70; spleen 20, 40 and 40, 80. Organ means 72.5 and 45.
        ("folds", (72.5, 475 / 4, 4), (45, 1900 / 4, 4), (58.75, 13.75**2, 2)),
        ("pooled", (72.5, 475 / 4, 4), (45, 1900 / 4, 4), (58.75, 13.75**2 + (475 / 4 + 1900 / 4) / 2, 8)),
        # liver 55, 75, 80; spleen 30 and 60; over their organs 42.5, 75, 70
        ("patients", (70, 350 / 3, 3), (45, 225, 2), (62.5, 612.5 / 3, 3)),
        # liver 70, 70; spleen 30, 60; over the organs 50, 65
        ("runs", (70, 0, 2), (45, 225, 2), (57.5, 7.5**2, 2)),
    ],
)
def test_every_definition_by_hand(spread: str, liver: Any, spleen: Any, mean: Any) -> None:
    found = summarize(scores(), spread=spread)["adnet"]
    for name, (middle, variance, n) in {"liver": liver, "spleen": spleen, "Mean": mean}.items():
        cell = found[name]
        assert cell.mean == pytest.approx(middle) and cell.sd == pytest.approx(math.sqrt(variance), abs=1e-9)
        assert cell.n == n


def test_a_case_that_is_a_query_in_two_folds_is_one_patient() -> None:
    """As volume 0 is by the lists of ADNet's code."""
    rows = [entry("a", 0, 0, "liver", 50), entry("a", 4, 0, "liver", 70), entry("b", 0, 0, "liver", 40)]
    cell = summarize(Results(SETTINGS, rows), spread="patients")["adnet"]["liver"]
    assert (cell.mean, cell.sd, cell.n) == (pytest.approx(50), pytest.approx(10), 2)


@pytest.mark.parametrize(
    ("organs", "mean", "deviation"),
    [
        ([(77.95, 16.57), (73.55, 28.69), (75.04, 8.55), (75.48, 8.58)], 75.50, 17.71),
        ([(81.06, 4.20), (84.88, 4.22), (75.18, 8.40), (77.17, 8.60)], 79.58, 7.67),
        ([(81.28, 2.51), (56.47, 0.75), (66.22, 4.24)], 67.99, 10.60),
        ([(82.87, 1.15), (56.30, 0.76), (67.93, 4.04)], 69.03, 11.15),
    ],
    ids=["abdomen, one slice", "abdomen, all", "heart, one slice", "heart, all"],
)
def test_the_mean_column_of_table_8_is_pooled(organs: list[tuple[float, float]], mean: float, deviation: float) -> None:
    """ADNet's 3-D rows. Of three folds two are as far above an organ's mean that its deviation is the printed one."""
    rows = [
        Entry(fold, 0, f"c{fold}", label, str(label), "adnet", (middle + sd * far) / 100, 1.0, 1.0, "scored")
        for label, (middle, sd) in enumerate(organs, start=1)
        for fold, far in enumerate((-math.sqrt(2), math.sqrt(0.5), math.sqrt(0.5)))
    ]
    found = summarize(Results(SETTINGS, rows), spread="pooled")["adnet"]
    for label, (middle, sd) in enumerate(organs, start=1):
        assert (found[str(label)].mean, found[str(label)].sd) == (pytest.approx(middle), pytest.approx(sd))
    assert found["Mean"].mean == pytest.approx(mean, abs=0.011)  # of organs that are rounded
    assert found["Mean"].sd == pytest.approx(deviation, abs=0.006)


def test_a_table_says_by_which_definition_it_is(tmp_path: Path) -> None:
    for spread, line in SPREADS.items():
        text = write_results(tmp_path / spread, scores(), spread)[2].read_text(encoding="utf-8")
        assert [other for other in SPREADS.values() if other in text] == [line]
        assert read_results(tmp_path / spread).settings == SETTINGS, "the scores do not depend on it"
    dice = text.split("## Dice (%)")[1]
    assert "| adnet  | 70.00 ± 0.00 | 45.00 ± 15.00 | 57.50 ± 7.50 |" in dice
    assert "| adnet  | 10.00 ± 0.00 | 10.00 ± 0.00 | 10.00 ± 0.00 |" in text.split("## HD95 (mm)")[1]
    with pytest.raises(ValueError, match="unknown definition 'cases'. Use folds, pooled, patients, runs"):
        write_results(tmp_path / "no", scores(), "cases")


def test_two_results_side_by_side() -> None:
    a = scores()
    b = Results({**SETTINGS, "bundle": "panet"}, [entry("a", 0, 0, "liver", 30), entry("b", 0, 0, "liver", 50)])
    comparison = compare(a, b, method_b="adnet")
    text = format_means(a, b, comparison, "patients")
    assert text.startswith("## Dice (%) of each by all of its queries\n\n") and text.endswith(
        f"{SPREADS['patients']}\n"
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert [rows[0], *rows[2:]] == [
        ["Method", "liver", "spleen", "Mean"],
        ["A: adnet", "70.00 ± 10.80", "45.00 ± 15.00", "62.50 ± 14.29"],
        ["B: adnet", "40.00 ± 10.00", "-", "40.00 ± 10.00"],
    ]


@pytest.mark.parametrize("module", [command, compare_command])
def test_the_commands_offer_what_there_is(module: Any) -> None:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    choices = {action.dest: action.choices for action in parser._actions}
    assert choices["spread"] == tuple(SPREADS)
    assert choices.get("ep1_rule", EP1_RULES) == EP1_RULES
