# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which labelled scans a supervised training learns from, which classes they show, and whether that can be right."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.cases import list_scans
from monai_fss.data.dataset import Case, DatasetFolder, chosen_cases
from monai_fss.data.items import case_item, scan_item
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.reading.scans import check_label, check_scan

__all__ = ["LearntScans", "check_learnt_scans", "check_small_organs", "learnt_scans", "small_organs"]


@dataclass(frozen=True)
class LearntScans:
    """
    What a supervised training learns from.

    Args:
        training: cases with the labels that are learnt from.
        validation: cases with their own labels, none of them in ``training``.
        labelled: how many cases there were to learn from, those of ``validation`` aside.
        values: label values that are learnt, rising; each is shown by one of the training labels.
        ignore: label value of voxels that are in doubt; None where there are none.
        unshown: label values that are wanted, but that no training label shows, rising.
    """

    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    labelled: int
    values: list[int]
    ignore: int | None = None
    unshown: tuple[int, ...] = ()

    @property
    def items(self) -> list[dict[str, Any]]:
        """Data list of the training: ``image``, ``label`` (paths), ``case`` (name)."""
        return [{**scan_item(case.image, case.label), "case": case.name} for case in self.training]

    @property
    def val_items(self) -> list[dict[str, Any]]:
        """Data list of the validation, see :func:`monai_fss.data.case_item`."""
        return [case_item(case) for case in self.validation]

    @property
    def kept(self) -> list[int]:
        """Label values of which voxels are not background: the classes, and the one of doubt last."""
        return [*self.values, *([] if self.ignore is None else [self.ignore])]

    @property
    def numbers(self) -> list[int]:
        """Of :attr:`kept`: class numbers from 1, and -1 for doubt, see :class:`monai_fss.losses.KnownVoxelsLoss`."""
        return [*range(1, 1 + len(self.values)), *([] if self.ignore is None else [-1])]

    def __str__(self) -> str:
        names = [", ".join(case.name for case in cases) for cases in (self.training, self.validation)]
        return (
            f"{len(self.training)} of {self.labelled} labelled scans ({names[0]}), labels "
            f"{', '.join(map(str, self.values))}; validation on {names[1] or 'none'}"
        )


def learnt_scans(
    folder: str | Path,
    cases: Sequence[str] | None = None,
    label_dir: str | Path = "",
    labels: Sequence[int] | None = None,
    ignore: int | None = None,
    fraction: float = 1.0,
    scans: int | None = None,
    val_queries: int = 0,
    seed: int = 0,
) -> LearntScans:
    """
    Choose the labelled scans of a supervised training, and the classes.

    The first ``val_queries`` cases with a label of their own, at most half as many as can be learnt from, are held out
    for validation. A share of the others is learnt from: the first ones of a random order that the seed decides, those
    that show no class to learn last. So a smaller share is part of a larger one.

    Args:
        folder: data set folder.
        cases: names to choose from. Default: all.
        label_dir: folder of labels ``<case>.nii.gz`` to learn from, such as pseudo-labels, on the grid of their images;
            cases without one are not learnt from. Default "": the data set's own ``labels/``.
        labels: label values to learn; all others are background. Default: all that the labels learnt from show.
        ignore: label value of voxels that are in doubt. Default: there are none.
        fraction: share of the scans that is learnt from, rounded, one at least. Default 1: all.
        scans: so many instead. Default: by ``fraction``.
        val_queries: scans to hold out. Default 0: none.
        seed: of the random order.

    Raises:
        ScanError: with every problem: no scan is labelled; a scan or label is bad, or shows values that neither
            dataset.json, where it names any, nor ``labels`` nor ``ignore`` explains; one of ``labels`` is shown by no
            label at all, or none of them by those that are learnt from; more scans are asked for than there are, or
            their number and share contradict each other.
    """
    chosen = chosen_cases(folder, cases)
    labelled = _labelled(folder, chosen, label_dir)
    own = [case for case in chosen if case.label is not None]
    validation = own[: min(max(val_queries, 0), len(labelled) // 2)]
    held = {case.name for case in validation}
    rest = [case for case in labelled if case.name not in held]
    shown = _shown(rest)
    useful = {name for name, own in shown.items() if own - {ignore} and (labels is None or own & set(labels))}
    training = _share(rest, useful, fraction, scans, seed)
    seen = {value for case in training for value in shown[case.name]} - {ignore}
    problems = _strange(DatasetFolder.read(folder), rest, shown, {*(labels or ()), ignore})
    problems += _absent(training, seen, {value for own in shown.values() for value in own} - {ignore}, labels, ignore)
    if problems:
        raise ScanError(problems)
    values = sorted(seen if labels is None else seen & set(labels))
    unshown = tuple(sorted(set(labels or ()) - seen))
    return LearntScans(tuple(training), tuple(validation), len(rest), values, ignore, unshown)


def check_learnt_scans(folder: str | Path, **more: Any) -> None:
    """
    End the program with exit code 2 where :func:`learnt_scans` refuses; for a bundle's ``initialize``.

    Args:
        folder, more: see :func:`learnt_scans`.

    Raises:
        SystemExit: 2, after the problems have been printed, a line each.

    Warns:
        InputWarning: a label value is wanted that the scans learnt from do not show: it is left out.
    """
    try:
        learnt = learnt_scans(folder, **more)
    except ScanError as error:
        print("\n".join(dict.fromkeys(error.problems)), file=sys.stderr)
        raise SystemExit(2) from None
    if learnt.unshown:
        warnings.warn(
            f"labels: {_text(learnt.unshown)} is not learnt, as none of the {len(learnt.training)} scans learnt from "
            "shows it. Learn from more of them (fraction, scans), or leave it out.",
            InputWarning,
            stacklevel=2,
        )


def small_organs(learnt: LearntScans, small: Sequence[int] | None = None, most_ml: float = 100.0) -> list[int]:
    """
    The small ones among the classes that are learnt, which get a second stage of their own.

    Args:
        learnt: what is learnt from.
        small: label values that are wanted; of these, those that are learnt. Default: by size.
        most_ml: by size, those whose mean volume over the scans that show them is less than this. Default 100: liver,
            spleen, kidneys and stomach are larger; pancreas, gallbladder, adrenal glands and oesophagus are not.

    Returns:
        label values, rising.
    """
    if small is not None:
        return sorted(set(small) & set(learnt.values))
    sizes: dict[int, list[float]] = {}
    for case in learnt.training:
        assert case.label is not None
        scan = check_scan(case.image)
        for value, voxels in check_label(case.label, scan).counts.items():
            sizes.setdefault(value, []).append(voxels * float(np.prod(scan.spacing)) / 1000)
    return [value for value in learnt.values if np.mean(sizes[value]) < most_ml]


def check_small_organs(learning: Mapping[str, Any], small: Sequence[int] | None, most_ml: float) -> None:
    """
    End the program with exit code 2 where small organs are wanted that are not learnt; for a bundle's ``initialize``.

    Args:
        learning: arguments of :func:`learnt_scans`.
        small, most_ml: see :func:`small_organs`.

    Raises:
        SystemExit: 2, after the problem has been printed.

    Warns:
        InputWarning: no organ is small, so that there is no second stage.
    """
    learnt = learnt_scans(**learning)
    if strange := sorted(set(small or ()) - set(learnt.values)):
        print(
            f"small: {_text(strange)} is not learnt, which are {_text(learnt.values)}. Choose from these.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    if not small_organs(learnt, small, most_ml):
        text = (
            f"small: no organ has less than {most_ml:g} ml, so there is no second stage. Name some, or raise small_ml."
        )
        warnings.warn(text, InputWarning, stacklevel=2)


def _labelled(folder: str | Path, chosen: Sequence[Case], label_dir: str | Path) -> list[Case]:
    """The cases with a label to learn from, as their label."""
    if not str(label_dir):
        found = [case for case in chosen if case.label is not None]
        where = f"{folder}/labels"
    else:
        files = list_scans(label_dir)
        found = [Case(case.name, case.image, files[case.name]) for case in chosen if case.name in files]
        where = str(label_dir)
    if not found:
        raise ScanError(
            f"{where}: has no label of {', '.join(case.name for case in chosen)}. Add <case>.nii.gz of at least one, "
            "or name a folder of labels with label_dir."
        )
    return found


def _share(rest: Sequence[Case], useful: Collection[str], fraction: float, scans: int | None, seed: int) -> list[Case]:
    """The scans to learn from, in their order; those that are not useful are the last to be taken."""
    if scans is not None and fraction < 1:
        raise ScanError(f"scans {scans}, fraction {fraction}: contradict each other. Give one of them.")
    if scans is not None and scans > len(rest):
        raise ScanError(f"scans {scans}: but there are {len(rest)} labelled scans to learn from. Give at most these.")
    count = max(1, int(fraction * len(rest) + 0.5)) if scans is None else scans
    order = np.random.RandomState(seed).permutation(len(rest)).tolist()
    order.sort(key=lambda index: rest[index].name not in useful)
    return [rest[index] for index in sorted(order[:count])]


def _shown(cases: Sequence[Case]) -> dict[str, set[int]]:
    """The label values of each case, whose image and label are checked."""
    shown, problems = {}, []
    for case in cases:
        assert case.label is not None
        try:
            shown[case.name] = set(check_label(case.label, check_scan(case.image)).counts)
        except ScanError as error:
            problems += error.problems
    if problems:
        raise ScanError(problems)
    return shown


def _strange(
    data: DatasetFolder, cases: Sequence[Case], shown: Mapping[str, set[int]], explained: set[int | None]
) -> list[str]:
    """Values that dataset.json, where it names any, does not name, nor the settings."""
    problems: list[str] = []
    for case in cases if data.labels else ():
        strange = sorted(shown[case.name] - {*data.labels.values(), *explained})
        if strange:
            problems.append(
                f"{case.label}: has label values {_text(strange)} that dataset.json does not name. Name them there, "
                f"correct the label, or give ignore={strange[-1]} where they mark voxels that are in doubt."
            )
    return problems


def _absent(
    training: Sequence[Case], seen: set[Any], every: set[Any], labels: Sequence[int] | None, ignore: int | None
) -> list[str]:
    """Classes that nothing shows.

    Args:
        training: the cases that are learnt from.
        seen: values that they show.
        every: values that they and the others show.
        labels, ignore: see :func:`learnt_scans`.
    """
    if ignore is not None and ignore in (labels or ()):
        return [f"ignore {ignore}: is among the labels to learn. Leave it out of one of them."]
    absent = sorted(set(labels or ()) - every)
    if absent:
        return [f"labels: {_text(absent)} is in no label; they show {_text(every)}. Choose from these."]
    if seen if labels is None else seen & set(labels):
        return []
    wanted = "no organ" if labels is None else f"none of {_text(labels)}"
    return [
        f"labels: {wanted} is shown by {', '.join(case.name for case in training)}. Label an organ there, or learn "
        "from more scans (fraction, scans)."
    ]


def _text(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values))) or "none"
