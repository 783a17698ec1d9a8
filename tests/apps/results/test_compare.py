# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Comparisons: pairs, tests, corrections, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from monai_fss.apps.results.compare import compare, format_comparison
from monai_fss.results.entries import Entry, Results

SETTINGS: dict[str, Any] = {
    "bundle": "adnet",
    "dataset": "phantom",
    "split": "5 folds",
    "protocol": "EP2",
    "ways": 4,
    "runs": 2,
    "labelled_slices": 1,
}


def results(scores: dict[str, dict[str, list[float]]], method: str = "adnet", **settings: Any) -> Results:
    """``{case: {organ: [dice of each run]}}``; nan is an absent organ."""
    organs = ["liver", "spleen", "aorta"]
    entries = [
        Entry(0, run, case, organs.index(organ) + 1, organ, method, dice, 1.0, 1.0, _state(dice))
        for case, row in scores.items()
        for organ, runs in row.items()
        for run, dice in enumerate(runs)
    ]
    return Results({**SETTINGS, "bundle": method, **settings}, entries)


def _state(dice: float) -> str:
    return "absent" if math.isnan(dice) else "scored"


def five(offset: float, **settings: Any) -> Results:
    """Five cases; the offset grows from case to case, so that no two differences are equal."""
    return results(
        {
            f"case_{i}": {"liver": [0.5 + offset * i, 0.6 + offset * i], "spleen": [0.4 + offset * i * 2]}
            for i in range(1, 6)
        },
        **settings,
    )


def test_a_better_method_is_found_and_corrected() -> None:
    comparison = compare(five(0.03), five(0.01))
    liver, spleen, mean = comparison.rows
    assert [row.name for row in comparison.rows] == ["liver", "spleen", "Mean"]
    assert liver.mean_a == pytest.approx(0.55 + 0.03 * 3)
    assert liver.mean_b == pytest.approx(0.55 + 0.01 * 3)
    assert spleen.mean_a == pytest.approx(0.4 + 0.06 * 3)
    assert mean.mean_a == pytest.approx((liver.mean_a + spleen.mean_a) / 2)
    for row in comparison.rows:
        assert row.a_greater.p == pytest.approx(1 / 32)
        assert row.p_a_greater == pytest.approx(3 / 32)
        assert row.b_greater.p == row.p_b_greater == 1.0
        assert row.a_greater.n == 5


def test_runs_are_averaged_before_the_test() -> None:
    # over runs the case is equal on both sides, though no single run is
    comparison = compare(results({"a": {"liver": [0.25, 0.75]}}), results({"a": {"liver": [0.5, 0.5]}}))
    assert comparison.rows[0].a_greater.n == 1
    assert comparison.rows[0].a_greater.n_nonzero == 0
    assert comparison.rows[0].a_greater.p == 1.0


def test_only_queries_and_organs_of_both() -> None:
    a = results({"a": {"liver": [0.5], "aorta": [0.1]}, "b": {"liver": [0.6], "aorta": [0.1]}})
    b = results({"b": {"liver": [0.4], "spleen": [0.9]}, "c": {"liver": [0.4], "spleen": [0.9]}})
    comparison = compare(a, b)
    assert (comparison.queries, comparison.only_a, comparison.only_b) == (["b"], ["a"], ["c"])
    assert (comparison.organs_only_a, comparison.organs_only_b) == (["aorta"], ["spleen"])
    assert comparison.rows[-1].mean_a == pytest.approx(0.6)
    text = format_comparison(comparison)
    assert "- queries compared: n = 1\n- queries in A only, left out: a\n- queries in B only, left out: c\n" in text


def test_an_absent_organ_is_left_out_on_both_sides() -> None:
    a = results({"a": {"liver": [0.5], "spleen": [math.nan]}, "b": {"liver": [0.5], "spleen": [0.7]}})
    b = results({"a": {"liver": [0.4], "spleen": [0.0]}, "b": {"liver": [0.4], "spleen": [0.5]}})
    comparison = compare(a, b)
    assert comparison.left_out == [("a", "spleen")]
    assert comparison.rows[1].a_greater.n == 1
    assert comparison.rows[2].mean_b == pytest.approx((0.4 + 0.45) / 2)
    assert "without a score on one side or both, left out: a spleen" in format_comparison(comparison)


def test_an_organ_that_nobody_has() -> None:
    a = results({"a": {"liver": [0.5], "spleen": [math.nan]}})
    row = compare(a, a).rows[1]
    assert row.a_greater.n == 0
    assert math.isnan(row.p_a_greater)
    assert np.isnan(row.mean_a)


def test_baselines_are_not_compared_unless_asked_for() -> None:
    both = five(0.02)
    baseline = five(0.0, method="mask paste")
    mixed = Results(both.settings, both.entries + baseline.entries)
    assert compare(mixed, five(0.02)).rows[-1].a_greater.n_nonzero == 0
    comparison = compare(mixed, mixed, method_b="mask paste")
    assert (comparison.method_a, comparison.method_b) == ("adnet", "mask paste")
    assert comparison.rows[-1].a_greater.p == pytest.approx(1 / 32)
    with pytest.raises(ValueError, match=r"A: no score of the method 'unet', only of \['adnet', 'mask paste'\]"):
        compare(mixed, mixed, method_a="unet")


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [("protocol", "EP1", "'EP1'"), ("split", "3 folds", "'3 folds'"), ("ways", 1, "1"), ("dataset", "x", "'x'")],
)
def test_different_settings_are_refused(key: str, value: Any, shown: str) -> None:
    with pytest.raises(ValueError, match=rf"{key} is {SETTINGS[key]!r} in A and {shown} in B.*Evaluate both"):
        compare(five(0.02), five(0.02, **{key: value}))


def test_another_rule_of_ep1_is_refused() -> None:
    a, b = five(0.02, ep1_rule="shown"), five(0.02, ep1_rule="range")
    with pytest.raises(ValueError, match="the rule of EP1 is 'shown' in A and 'range' in B.*the same --ep1-rule"):
        compare(a, b)
    with pytest.raises(ValueError, match="the rule of EP1 is 'shown' in A and 'range' in B"):
        compare(five(0.02), b)  # results of before there was another one
    compare(five(0.02), a)
    assert "- ep1 rule: range\n" in format_comparison(compare(b, b))


NAMES = [["liver", "spleen"], ["right_kidney", "left_kidney"]]


@pytest.mark.parametrize("groups", [NAMES[:1], [["liver"], ["spleen"], NAMES[1]], [[1, 6], [2, 3]], "CRAPNet's", None])
def test_other_groups_of_setting_2_are_refused(groups: Any) -> None:
    a, b = five(0.02, setting=2, groups=NAMES), five(0.02, setting=2, groups=groups)
    with pytest.raises(
        ValueError, match="A and B: groups is .* in A and .* Evaluate both with the same --groups"
    ) as no:
        compare(a, b)
    assert f"is {NAMES!r} in A and {groups!r} in B," in str(no.value)
    assert "one is of an earlier version that stored label values or a text" in str(no.value)


def test_the_order_of_groups_does_not_count() -> None:
    other = [group[::-1] for group in NAMES[::-1]]
    compare(five(0.02, setting=2, groups=NAMES), five(0.02, setting=2, groups=other))
    compare(five(0.02, groups="none"), five(0.02))  # setting 1 of before there were groups


def test_nothing_in_common() -> None:
    a, b = results({"a": {"liver": [0.5]}}), results({"b": {"liver": [0.5]}})
    with pytest.raises(ValueError, match=r"no common query \(A has \['a'\] with \['liver'\], B has \['b'\]"):
        compare(a, b)
    with pytest.raises(ValueError, match="no common organ"):
        compare(a, results({"a": {"spleen": [0.5]}}))


def test_text() -> None:
    text = format_comparison(compare(five(0.03), five(0.01, runs=3, method="crapnet")))
    assert text.startswith(
        "# A: adnet, B: crapnet\n\n- dataset: phantom\n- split: 5 folds\n- protocol: EP2\n- ways: 4\n"
    )
    assert "- runs: 2 (A), 3 (B)\n- labelled slices: 1\n- queries compared: n = 5\n" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| liver")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["liver", "64.00", "58.00", "+6.00", "5", "5", "0.0312", "0.0938", "1.0000", "1.0000"]
    assert "corrected over the 3 tests of one direction" in text
    assert "A pair of the test is one query case, not one organ of it: in the line of an organ its Dice" in text
