# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an evaluation does with a data set: which classes, folds and groups, and what cannot be tested."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.anchors import oracle_anchors, suggested_supports
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.groups import training_groups
from monai_fss.data import DatasetFolder, Fold, Label, Scan, ScanError, make_folds

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """What an evaluation does with a data set.

    Args:
        data: data set.
        scored: name of each label value that is scored.
        names: name of each label value that occurs.
        groups: label values that a training leaves out together, see
            :func:`monai_fss.apps.evaluate.groups.training_groups`; one empty group in setting 1.
        folds: with their numbers.
        shown: label values of each labelled case.
        scans: what is known of each case's image.
        anchors: of each fold by its number, label value to the case that shows this organ, where each has its own (the
            oracle); the support of the fold is all of them then.
    """

    data: DatasetFolder
    scored: Mapping[int, str]
    names: Mapping[int, str]
    groups: Sequence[tuple[int, ...]]
    folds: Sequence[tuple[int, Fold]]
    shown: Mapping[str, frozenset[int]]
    scans: Mapping[str, Scan] = field(default_factory=dict)
    anchors: Mapping[int, Mapping[int, str]] = field(default_factory=dict)

    def tested(self, group: Sequence[int]) -> dict[int, str]:
        """The classes that are tested with the training of a group, by label value: those that are scored."""
        return {value: name for value, name in self.scored.items() if not group or value in group}

    def testable(self, fold: Fold, group: Sequence[int]) -> bool:
        """Whether the support of a fold shows one of them. If not, there is nothing to train for."""
        return bool(self.shown_in(fold.support) & self.tested(group).keys())

    def parts(self, number: int, fold: Fold, group: Sequence[int]) -> list[tuple[Fold, dict[int, str]]]:
        """The tests of a fold and group: the classes that are shown, by label value, with what shows them.

        It is the fold itself, unless organs have anchors of their own, which are not scored themselves.
        """
        tested, shown = self.tested(group), self.shown_in(fold.support)
        if number not in self.anchors:
            return [(fold, {value: name for value, name in tested.items() if value in shown})]
        found: dict[str, dict[int, str]] = {}
        for value in [value for value in tested if value in self.anchors[number]]:
            found.setdefault(self.anchors[number][value], {})[value] = tested[value]
        others = {case: tuple(query for query in fold.queries if query != case) for case in found}
        return [(Fold(fold.train, (case,), others[case]), names) for case, names in found.items()]

    def supports(self) -> list[str]:
        """The labelled scans of each fold, in words."""
        return [self._support(number, fold) for number, fold in self.folds]

    def _support(self, number: int, fold: Fold) -> str:
        if number not in self.anchors:
            return ", ".join(fold.support)
        organs = {
            case: [self.names[v] for v, own in self.anchors[number].items() if own == case] for case in fold.support
        }
        return ", ".join(f"{case} ({', '.join(names)})" for case, names in organs.items())

    def left_out(self, fold: Fold, group: Sequence[int]) -> tuple[int, ...]:
        """The label values of a group that the training scans of a fold show: the others leave no slice out."""
        return tuple(value for value in group if value in self.shown_in(fold.train))

    def tests(self, runs: int) -> Iterator[tuple[int, Fold, int, tuple[int, ...]]]:
        """Number and fold, run, and group of each test, where the support shows a class of the group."""
        for (number, fold), run, group in itertools.product(self.folds, range(runs), self.groups):
            if self.testable(fold, group):
                yield number, fold, run, group

    def notes(self, trained: bool) -> list[str]:
        """What is not done, or otherwise than asked, in words.

        Args:
            trained: whether models are trained.
        """
        notes = []
        for number, fold in self.folds:
            for group in self.groups:
                names = list(self.tested(group).values())
                if not self.testable(fold, group):
                    what = f"none of {', '.join(names)} is" if len(names) > 1 else f"{names[0]} is not"
                    notes.append(f"fold {number}: {what} in its support; not {'trained' if trained else 'tested'}")
                elif trained and group and not self.left_out(fold, group):
                    every = ", ".join(self.names[value] for value in group)
                    notes.append(f"fold {number}: no training scan shows {every}; trained as in setting 1")
        return notes

    def shown_in(self, cases: Sequence[str]) -> frozenset[int]:
        """The label values that one of some cases shows."""
        return frozenset[int]().union(*(self.shown[name] for name in cases))


def make_plan(evaluation: Evaluation) -> Plan:
    """Read the data set, and decide what is done with it.

    Raises:
        ScanError, UsageError: with every problem of the data, or where labels, groups or folds do not fit it.
    """
    data = DatasetFolder.read(evaluation.data)
    summaries = data.check()
    labels = {summary.name: summary.label for summary in summaries if summary.label}
    occurring = sorted({value for label in labels.values() for value in label.counts})
    scored = _scored(evaluation, data, occurring)
    names = {value: name for name, value in data.names_for(occurring).items()}
    groups = training_groups(evaluation, scored, names)
    folds = _folds(evaluation, data)
    shown = {name: frozenset(label.counts) for name, label in labels.items()}
    folds, anchors = _with_anchors(evaluation.anchor_rule, data, folds, scored, shown)
    _check_supports([labels[name] for _, fold in folds for name in fold.support])
    scans = {summary.name: summary.scan for summary in summaries}
    plan = Plan(data, scored, names, groups, folds, shown, scans, anchors)
    if not any(plan.testable(fold, group) for _, fold in folds for group in groups):
        raise UsageError(
            f"--split {evaluation.split}: no support of a fold shows {', '.join(scored.values())}. Choose another "
            "split, or other --labels."
        )
    return plan


def _with_anchors(
    rule: str,
    data: DatasetFolder,
    folds: Sequence[tuple[int, Fold]],
    scored: Mapping[int, str],
    shown: Mapping[str, frozenset[int]],
) -> tuple[list[tuple[int, Fold]], dict[int, dict[int, str]]]:
    """The folds with the labelled scans that a rule chooses; with the oracle, that of each organ by fold too."""
    if rule == "suggested":
        chosen = [(n, fold, suggested_supports(data, fold, len(fold.support))) for n, fold in folds]
        return [(n, replace(fold, support=support)) for n, fold, support in chosen], {}
    if rule == "oracle":
        anchors = {n: oracle_anchors(data, fold.queries, scored, shown) for n, fold in folds}
        cases = {n: tuple(dict.fromkeys(own.values())) for n, own in anchors.items()}
        return [(n, replace(fold, support=cases[n])) for n, fold in folds], anchors
    return list(folds), {}


def _scored(evaluation: Evaluation, data: DatasetFolder, values: Sequence[int]) -> dict[int, str]:
    """The classes that are scored: all that occur, or those that are wanted."""
    missing = sorted(set(evaluation.labels or ()) - set(values))
    if missing:
        raise UsageError(f"--labels {missing}: occur in no label of {data.root}, which have {list(values)}.")
    return {value: name for name, value in data.names_for(evaluation.labels or values).items()}


def _check_supports(labels: Sequence[Label]) -> None:
    empty = [
        f"{label.path}: has no labelled voxel, but is the support of a fold. Label it, or choose another split."
        for label in labels
        if not label.counts
    ]
    if empty:
        raise ScanError(empty)


def _folds(evaluation: Evaluation, data: DatasetFolder) -> list[tuple[int, Fold]]:
    labelled = [case.name for case in data.labelled]
    folds = list(enumerate(make_folds(evaluation.split, labelled, data.folds, evaluation.supports)))
    if evaluation.fold is None:
        return folds
    if not 0 <= evaluation.fold < len(folds):
        raise ScanError(f"--fold {evaluation.fold}: the split has folds 0 to {len(folds) - 1}. Name one of them.")
    return [folds[evaluation.fold]]
