# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The tables of several methods in one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from monai_fss.apps.results.combine import against_first, combine, training_table
from monai_fss.results.baselines import MASK_PASTE, UNTRAINED, is_baseline, untrained_name
from monai_fss.results.entries import Entry, Results


def entries(method: str, scores: dict[str, float], name: str = "liver", label: int = 1) -> list[Entry]:
    return [
        Entry(0, 0, case, label, name, method, dice, 1.0, 1.0, "absent" if math.isnan(dice) else "scored")
        for case, dice in scores.items()
    ]


def results(bundle: str, found: list[Entry], **training: Any) -> Results:
    settings = {"dataset": "d", "split": "within", "protocol": "ep2", "ways": "compete", "runs": 1, "notes": ["a note"]}
    settings |= {"model": "m", "command": bundle, "versions": {}, "training_settings": training, "labelled_slices": 1}
    return Results({"bundle": bundle, **settings}, found)


def part(bundle: str, dice: float, method: str = "", **training: Any) -> Results:
    """A method, and its baselines, which are as many hundredths worse as their place in the list is high."""
    baselines = [("mask paste", 0.02)] if bundle == "atlas" else [("untrained network", 0.01), ("mask paste", 0.02)]
    rows = [(method or bundle, 0.0), *baselines]
    return results(bundle, [e for name, less in rows for e in entries(name, {"a": dice - less})], **training)


def cells(text: str) -> dict[str, list[str]]:
    """First cell to the others of every line of a table."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_baselines_are_of_the_first_method_that_has_them_and_say_of_which() -> None:
    found = combine([part("atlas", 0.9), part("adnet", 0.7), part("crapnet", 0.5)], command="all")
    assert [(entry.method, round(entry.dice, 2)) for entry in found.entries] == [
        ("atlas", 0.9),
        ("adnet", 0.7),
        ("crapnet", 0.5),
        ("untrained adnet", 0.69),
        ("mask paste", 0.88),
    ]
    assert found.settings["bundle"] == "atlas, adnet, crapnet" and found.settings["command"] == "all"
    assert found.settings["notes"] == ["atlas: a note", "adnet: a note", "crapnet: a note"]
    assert found.settings["model"] == "m" and found.settings["training_settings"] == {}
    alone = combine([part("adnet", 0.7, steps=2), part("atlas", 0.9)])
    assert [entry.method for entry in alone.entries] == ["adnet", "atlas", "untrained adnet", "mask paste"]
    assert round(alone.entries[-1].dice, 2) == 0.68 and alone.settings["command"] == "adnet"
    assert alone.settings["training_settings"] == {"adnet": {"steps": 2}, "atlas": {}}
    parts = [part(name, 0.5) for name in ("atlas", "adnet", "panet")]
    for one, weights in zip(parts, ("none", "known.pth", "random"), strict=True):
        one.settings["untrained_network"] = weights
    assert combine(parts).settings["untrained_network"] == "known.pth", "of the one that is shown"
    del parts[1].settings["untrained_network"]  # of an earlier version
    assert combine(parts).settings["untrained_network"] == "random"
    prior = combine([part("adnet", 0.7, "adnet + atlas"), part("panet", 0.9, "panet + atlas")])
    assert prior.entries[2].method == "untrained adnet + atlas"


def test_how_each_method_was_trained_and_where_they_differ() -> None:
    parts = [
        part("adnet", 0.7, steps=800),
        part("atlas", 0.9),
        part("crapnet:self_supervision=supervoxels", 0.5, steps=800, batch_size=2),
        part("crapnet", 0.5, steps=800),
    ]
    text = training_table(parts)
    assert text.startswith("## Training\n")
    assert cells(text)["Method"] == ["steps", "episodes per step", "self-supervision"]
    assert cells(text)["adnet"] == ["800", "4", "supervoxels"]
    assert cells(text)["atlas"] == ["-", "-", "-"]
    assert cells(text)["crapnet:self_supervision=supervoxels"] == ["800", "2", "supervoxels"]
    assert cells(text)["crapnet"] == ["800", "4", "superpixels"]
    said = "The trainings differ in episodes per step (4, 2) and in self-supervision (supervoxels, superpixels): a "
    assert said in text
    assert "differ" not in training_table(parts[:2])
    assert "differ in episodes per step (4, 2):" in training_table(parts[:3])
    volume = training_table([parts[0], part("adnet_3d", 0.5, steps=800, batch_size=4)])
    assert cells(volume)["adnet_3d"] == ["800", "4", "its own"]
    assert "differ in self-supervision (supervoxels, its own):" in volume


def test_p_values_are_those_of_wilcoxon_corrected_over_the_methods() -> None:
    from scipy.stats import wilcoxon

    base = [0.5, 0.52, 0.55, 0.6, 0.61, 0.63, 0.7, 0.72]
    steps = [0.01, 0.03, 0.02, 0.05, 0.04, 0.07, 0.06, 0.08]
    better = [x + y for x, y in zip(base, steps, strict=True)]
    mixed = [x + y * (-1) ** i for i, (x, y) in enumerate(zip(base, steps, strict=True))]
    named = {"adnet": base, "one": better, "two": mixed}
    parts = [results(name, entries(name, {str(i): x for i, x in enumerate(row)})) for name, row in named.items()]
    text = against_first(parts)
    first, second = (wilcoxon(other, base, alternative="greater").pvalue for other in (better, mixed))
    rows = cells(text)
    assert rows["one"][1:5] == ["+4.50", "8", f"{first:.4f}", f"{min(1, 2 * first):.4f}"]
    assert rows["two"][3:5] == [f"{second:.4f}", f"{max(second, 2 * first):.4f}"]
    assert "left out" not in text
    assert "A pair of the test is one query case, not one organ of it: its mean Dice over the organs, each" in text


def test_what_is_not_compared_is_said() -> None:
    first = results("adnet", entries("adnet", {"a": 0.5, "b": 0.6, "c": 0.7}))
    second = results("atlas", entries("atlas", {"a": 0.6, "b": math.nan, "d": 0.7}))
    third = results(
        "panet", [*entries("panet", {"a": 0.6, "b": 0.7, "c": 0.8}), *entries("panet", {"a": 1}, "aorta", 5)]
    )
    text = against_first([first, second, third])
    assert cells(text)["atlas"][:3] == ["60.00", "+10.00", "1"] and cells(text)["panet"][2] == "3"
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- atlas against adnet, queries in atlas only, left out: d",
        "- atlas against adnet, queries in adnet only, left out: c",
        "- atlas against adnet, without a score on one side or both, left out: b liver",
        "- panet against adnet, organs in panet only, left out: aorta",
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_method_without_a_score_is_in_no_table(place: int) -> None:
    lost = results("panet", [], steps=800)
    lost.settings["prior"] = "atlas, weight of the network 0.1"
    parts = [part("adnet", 0.7, steps=800), part("atlas", 0.9)]
    parts.insert(place, lost)
    found = combine(parts)
    assert "panet" in found.settings["bundle"].split(", ")
    assert {entry.method for entry in found.entries} == {"adnet", "atlas", "untrained adnet", "mask paste"}
    assert found.settings["notes"][-1] == "panet + atlas: has no score, and is in no table"
    assert [*cells(training_table(parts))][2:] == ["adnet", "atlas"]
    text = against_first(parts)
    assert text.startswith("## Mean Dice (%) against adnet\n") and [*cells(text)][2:] == ["atlas"]
    assert text.endswith("\n\n- panet + atlas: has no score, left out\n")


def test_nothing_is_tested_where_no_method_or_no_query_is_left() -> None:
    none = [results("adnet", []), results("panet", [])]
    assert combine(none).entries == []
    assert cells(training_table(none)).keys() <= {"Method", "------"}
    text = "## Mean Dice (%) against adnet\n\n- adnet: has no score, left out\n- panet: has no score, left out\n"
    assert against_first(none) == text
    other = results("panet", entries("panet", {"a": 0.5}, "spleen", 6))
    text = against_first([part("adnet", 0.7), other])
    assert text == "## Mean Dice (%) against adnet\n\n- panet: has no query or no organ of adnet, left out\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [(MASK_PASTE, True), (UNTRAINED, True), (untrained_name("crapnet:blocks=7"), True), ("adnet + atlas", False)],
)
def test_baselines_by_name(name: str, expected: bool) -> None:
    assert is_baseline(name) is expected
