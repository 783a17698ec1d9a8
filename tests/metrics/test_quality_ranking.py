# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How well a quality score ranks results, against closed forms and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_fss.metrics import auroc, risk_coverage, within_group_spearman

LIVER, SPLEEN = [0.1, 0.2, 0.3, 0.4, 0.5], [0.9, 0.8, 0.7, 0.6]


def test_rho_is_one_minus_six_sums_of_squares() -> None:
    # ranks 1 2 3 4 5 against 2 1 3 5 4: 1 - 6 * 4 / (5 * 24) = 0.8; the spleen is in the opposite order: -1
    scores, dices = LIVER + SPLEEN, [0.2, 0.1, 0.3, 0.9, 0.4, 0.1, 0.2, 0.3, 0.4]
    result = within_group_spearman(scores, dices, ["liver"] * 5 + ["spleen"] * 4)
    assert result.groups == pytest.approx({"liver": 0.8, "spleen": -1})
    assert result.rho == pytest.approx(-0.1)
    assert result.pairs == {"liver": 5, "spleen": 4}
    assert result.left_out == {} and result.undefined == 0


def test_differences_between_groups_do_not_count() -> None:
    # over all results the order is perfect, within each organ it is the reverse
    scores = [4, 3, 2, 1, 14, 13, 12, 11]
    dices = [0.11, 0.12, 0.13, 0.14, 0.91, 0.92, 0.93, 0.94]
    assert within_group_spearman(scores, dices, [0] * 4 + [1] * 4).rho == -1


def test_equal_values_share_their_mean_rank() -> None:
    result = within_group_spearman([1, 2, 2, 3], [0.1, 0.2, 0.3, 0.4], ["a"] * 4)
    expected = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1]
    assert result.rho == pytest.approx(expected)


def test_groups_without_an_order_are_left_out_and_counted() -> None:
    nan = math.nan
    scores = [1, 2, 3, *[1, 2, 3, nan], *[0.5] * 4, *[1, 2, 3, 4], *[1, 2, 3, 4]]
    dices = [0.1, 0.2, 0.3, *[0.1] * 4, *[0.1, 0.2, 0.3, 0.4], *[0] * 4, *[0.1, 0.2, 0.3, 0.4]]
    groups = ["few"] * 3 + ["nan"] * 4 + ["scores"] * 4 + ["dices"] * 4 + ["good"] * 4
    result = within_group_spearman(scores, dices, groups)
    assert result.groups == {"good": 1}
    assert result.left_out == {
        "few": "3 of at least 4 pairs",
        "nan": "3 of at least 4 pairs",
        "scores": "all scores are 0.5",
        "dices": "all Dice scores are 0",
    }
    assert result.pairs == {"few": 3, "nan": 3, "scores": 4, "dices": 4, "good": 4}
    assert result.undefined == 1
    assert math.isnan(within_group_spearman([], [], []).rho)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    result = auroc([0.1, 0.5, 0.4, 0.9], [0.2, 0.5, 0.7, 0.9])
    assert (result.value, result.bad, result.good, result.reason) == (0.75, 2, 2, "")
    assert auroc([0, 1], [0.1, 0.9]).value == 1
    assert auroc([1, 0], [0.1, 0.9]).value == 0
    assert auroc([1, 1], [0.59, 0.6]).value == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_auroc_against_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, dices = rng.integers(0, 6, 30).astype(float), rng.uniform(size=30)
    scores[3] = dices[4] = math.nan
    pairs = [(s, d) for s, d in zip(scores, dices, strict=True) if not math.isnan(s + d)]
    bad, good = [s for s, d in pairs if d < 0.5], [s for s, d in pairs if d >= 0.5]
    wins = sum((b < g) + 0.5 * (b == g) for b in bad for g in good)
    result = auroc(scores, dices, below=0.5)
    assert result.value == pytest.approx(wins / len(bad) / len(good))
    assert (result.bad, result.good, result.undefined) == (len(bad), len(good), 2)


def test_one_class_alone_has_a_reason() -> None:
    result = auroc([0.1, 0.2], [0.7, 0.8])
    assert math.isnan(result.value) and result.reason == "no result has a Dice score below 0.6"
    assert auroc([0.1], [0.2], below=0.3).reason == "no result has a Dice score of at least 0.3"


def test_risk_coverage_by_hand() -> None:
    """Equal scores share their mean risk: 0.2, then 0.8 and 0.6 at 0.7 each, then 0.4."""
    found = risk_coverage([0.9, 0.5, 0.5, 0.1, math.nan], [0.8, 0.2, 0.4, 0.6, 0.5])
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert found.risk == pytest.approx([0.2, 0.9 / 2, 1.6 / 3, 0.5])
    assert found.aurc == pytest.approx((0.2 + 0.9 / 2 + 1.6 / 3 + 0.5) / 4)
    assert found.optimal == pytest.approx((0.2 + 0.6 / 2 + 1.2 / 3 + 0.5) / 4)
    assert (found.random, found.undefined) == (pytest.approx(0.5), 1)
    nothing = risk_coverage([math.nan], [0.5])
    assert math.isnan(nothing.aurc) and nothing.coverage.size == 0


@pytest.mark.parametrize("seed", range(3))
def test_equal_scores_are_worth_the_mean_over_their_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, dices = rng.integers(0, 3, 7).astype(float), rng.uniform(size=7)
    areas = []
    for _ in range(4000):
        order = np.lexsort((rng.random(7), -scores))
        areas.append((np.cumsum(1 - dices[order]) / np.arange(1, 8)).mean())
    assert risk_coverage(scores, dices).aurc == pytest.approx(np.mean(areas), abs=0.005)
    assert risk_coverage(np.zeros(7), dices).aurc == pytest.approx(1 - dices.mean())


def test_errors() -> None:
    with pytest.raises(ValueError, match="0.5 to 70 are no Dice scores"):
        risk_coverage([0.1, 0.2], [0.5, 70])
    with pytest.raises(ValueError, match=r"their shapes are \(2,\) and \(1,\)"):
        auroc([0.1, 0.2], [0.7])
    with pytest.raises(ValueError, match="groups: 1 for 2 scores"):
        within_group_spearman([0.1, 0.2], [0.7, 0.8], ["a"])
    with pytest.raises(ValueError, match="0.5 to 70 are no Dice scores"):
        auroc([0.1, 0.2], [0.5, 70])
