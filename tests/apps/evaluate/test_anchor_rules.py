# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scan is labelled at test: the suggested one, and the oracle's. Registration is the identity: one world."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import save_nifti

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import anchors
from monai_fss.apps.evaluate import one as evaluating
from monai_fss.apps.evaluate.anchors import suggested_supports
from monai_fss.apps.evaluate.checks import check_evaluation
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.plan import Plan, make_plan
from monai_fss.apps.methods.method import Method
from monai_fss.apps.suggest import suggest
from monai_fss.data import DatasetFolder, write_json
from monai_fss.registration import scan_distances
from monai_fss.results.entries import Entry

# mm from the middle to ball 1 (along x) and to ball 2 (along y) of each case; None: there is none.
QUERIES = {"q1": (-30, 20), "q2": (0, 40), "q3": (10, 0), "q4": (60, None)}
OTHERS = {"a1": (70, 0), "a2": (-30, 0), "a3": (20, 0), "a4": (0, 0)}
RADIUS = {1: 30, 2: 25}
NAMES = {1: "one", 2: "two", 3: "three"}


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_distances, "affine", lambda fixed, moving: np.eye(4))
    monkeypatch.setattr(sys.modules["monai_fss.registration.affine"], "affine", lambda fixed, moving: np.eye(4))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fold 0: the queries q1 to q4, a1 is the split's support; a2 to a4 train. q1 alone shows organ 3."""
    folder = tmp_path_factory.mktemp("balls") / "data"
    x, y, z = np.meshgrid(*[np.arange(-115, 120, 10.0)] * 3, indexing="ij")
    for case, places in {**QUERIES, **OTHERS}.items():
        image, label = 400 * (x**2 + y**2 + z**2 < 110**2), np.zeros(x.shape, np.int16)
        for value, place in zip((1, 2), places, strict=True):
            if place is not None:
                at = (place, 0, 0) if value == 1 else (0, place, 70)
                label[(x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < RADIUS[value] ** 2] = value
        label[0, 0, :2] = 3 if case == "q1" else 0
        save_nifti(
            folder / "images" / f"{case}.nii.gz",
            (image + 500 * (label == 1)).astype(np.int16),
            np.diag([10, 10, 10, 1]),
        )
        save_nifti(folder / "labels" / f"{case}.nii.gz", label, np.diag([10, 10, 10, 1]))
    folds = [[*QUERIES, "a1"], ["a2", "a3", "a4"]]
    labels = {name: value for value, name in NAMES.items()}
    write_json(folder / "dataset.json", {"name": "balls", "labels": labels, "modality": "MR", "folds": folds})
    return folder


def plan(data: Path, rule: str, **more: Any) -> Plan:
    return make_plan(Evaluation(Method("organnet"), str(data), **{"fold": 0, **more, "anchor_rule": rule}))


def test_the_split_is_left_alone(data: Path) -> None:
    made = plan(data, "split")
    assert made.supports() == ["a1"] and made.anchors == {}
    assert made.parts(0, made.folds[0][1], ()) == [(made.folds[0][1], {1: "one", 2: "two"})]


def test_the_suggested_scan_is_the_typical_one_that_is_no_query(data: Path) -> None:
    """Of balls at 70, -30, 20 and 0 that at 0 touches most of the others; `suggest` says the same of these four."""
    found, before = plan(data, "suggested").folds[0][1], plan(data, "split").folds[0][1]
    assert found.support == ("a4",)
    assert found.queries == before.queries and found.train == before.train, "trainings are the same"
    whole = DatasetFolder.read(data)
    whole.cases = {name: case for name, case in whole.cases.items() if name not in found.queries}
    ranked = tuple(row.case for row in suggest(whole, (), 2))
    assert ranked[0] == "a4" and suggested_supports(DatasetFolder.read(data), before, 2) == ranked


def soft_dice(cases: list[str], value: int) -> dict[str, float]:
    """Of each ball with the mean of all, on voxels of 1 mm."""
    x, y, z = np.meshgrid(np.arange(-70, 100.0), np.arange(-40, 80.0), np.arange(-30, 31.0), indexing="ij")
    masks = []
    for case in cases:
        at = (QUERIES[case][0], 0) if value == 1 else (0, QUERIES[case][1])
        masks.append(((x - at[0]) ** 2 + (y - at[1]) ** 2 + z**2 < RADIUS[value] ** 2).astype(np.float32))  # type: ignore[operator]
    mean = np.mean(masks, 0)
    return {c: float(2 * (m * mean).sum() / (m.sum() + mean.sum())) for c, m in zip(cases, masks, strict=True)}


def test_the_oracle_is_organ_by_organ_the_query_nearest_to_the_average(data: Path) -> None:
    made = plan(data, "oracle")
    expected = {}
    for value, cases in ((1, list(QUERIES)), (2, ["q1", "q2", "q3"])):
        scores = soft_dice(cases, value)
        expected[value] = max(scores, key=lambda case: scores[case])
    assert expected == {1: "q2", 2: "q1"}, "of -30, 0, 10 and 60 it is 0; of 20, 40 and 0 it is 20"
    assert made.anchors == {0: expected}, "q1 alone shows the third: nothing would be left to be scored"
    fold = made.folds[0][1]
    assert fold.queries == tuple(QUERIES) and fold.support == ("q2", "q1")
    parts = [(part.support, part.queries, names) for part, names in made.parts(0, fold, ())]
    assert parts == [(("q2",), ("q1", "q3", "q4"), {1: "one"}), (("q1",), ("q2", "q3", "q4"), {2: "two"})]
    assert made.supports() == ["q2 (one), q1 (two)"]
    same = plan(data, "oracle", labels=(1,))
    assert same.anchors == {0: {1: "q2"}} and same.folds[0][1].train == fold.train


class Trial:
    """A perfect test."""

    def __init__(self, evaluation: Evaluation, files: Any, names: dict[int, str], *more: Any) -> None:
        self.files, self.names = files, names

    def entries(self, fold: int, run: int) -> list[Entry]:
        every = [(case, value, name) for case in self.files.cases for value, name in self.names.items()]
        return [Entry(fold, run, case, value, name, "m", 1.0, 0.0, 0.0, "scored") for case, value, name in every]

    def curve(self) -> list[Any]:
        return []


def test_results_say_the_rule_and_score_no_anchor(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "FoldTrial", Trial)
    found = {}
    for rule in ("split", "suggested", "oracle"):
        one = Evaluation(Method("atlas"), str(data), fold=0, labels=(1, 2, 3), anchor_rule=rule, support_slices="all")
        found[rule] = evaluating.evaluate(one, tmp_path / rule)
    assert "anchor_rule" not in found["split"].settings
    assert found["suggested"].settings["support"] == ["a4"] and found["oracle"].settings["support"] == [
        "q2 (one), q1 (two)"
    ]
    for rule in ("suggested", "oracle"):
        text = (tmp_path / rule / "results.md").read_text(encoding="utf-8")
        assert f"- anchor rule: {anchors.ANCHOR_RULES[rule]}" in text
    scored = {(entry.case, entry.label) for entry in found["oracle"].entries}
    assert scored == {*((q, 1) for q in ("q1", "q3", "q4")), *((q, 2) for q in ("q2", "q3", "q4"))}
    assert "fold 0: three is not in its support" in found["oracle"].settings["notes"]
    assert {entry.case for entry in found["suggested"].entries} == set(QUERIES)


@pytest.mark.parametrize(
    ("bundle", "own", "says"),
    [
        (
            "organnet",
            {"anchor_rule": "best"},
            "--anchor-rule best: is not known. Give one of split, suggested, oracle.",
        ),
        ("unet_3d", {"anchor_rule": "suggested"}, "chooses the labelled scan of a test, and unet_3d takes none"),
        ("organnet", {"anchor_rule": "oracle", "supports": 2}, "is one scan for each organ, not 2"),
        ("atlas", {"anchor_rule": "oracle", "ways": "compete"}, "so they cannot compete"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(bundle: str, own: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_evaluation(Evaluation(Method(bundle), "d", **own))
