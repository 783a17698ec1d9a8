# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which cases train, which one is the support and which are queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.cases import natural_key
from monai_fss.data.problems import Findings, ScanError

__all__ = ["Fold", "make_folds"]

# ADNet's fold lists (Hansen et al. 2022, arXiv 2203.02048, its public code): neighbours share one volume.
_PAPER_BORDERS = {20: (0, 4, 8, 12, 16), 35: (0, 7, 14, 21, 28)}
_CIRCULAR_FOLDS = 5  # ALPNet's, whose public code (Ouyang et al. 2020) has borders for 20 and 30 cases
_NAMED = ("within", "corrected", "circular", "paper")
_SEVERAL = ("within", "corrected", "circular")  # which take any number of supports


@dataclass(frozen=True)
class Fold:
    """
    One round of cross-validation, by case names.

    Args:
        train: cases to train on.
        support: the labelled cases that the method is shown.
        queries: cases to segment and to score.
    """

    train: tuple[str, ...]
    support: tuple[str, ...]
    queries: tuple[str, ...]


def make_folds(
    split: str | Path, cases: Sequence[str], folds: Sequence[Sequence[str]] | None = None, supports: int = 1
) -> list[Fold]:
    """
    Make the rounds of a cross-validation.

    Splits by name:

    - ``"within"``: the fold's last case is the support, its other cases are the queries, all other folds train.
      The support is never a query, so that one case per fold is never scored. Several supports are the last cases.
    - ``"corrected"``: the whole fold are queries, the support is the next fold's first case (the last fold takes the
      first fold's), and all other cases outside the fold train. Every case is scored exactly once. Several supports
      are the next fold's first cases, so their number does not change which queries are scored.
    - ``"circular"``: ``"corrected"`` for five folds of neighbours in natural order, whatever dataset.json says: for 20
      cases (CHAOS) {0-3}, {4-7}, ..., for 30 (BTCV) {0-5}, {6-11}, ...; the support is the next case, and 0 after the
      last one. These are the folds of ALPNet's public code, whose lists are {0-3, 4}, {4-7, 8}, ..., {16-19, 0} with
      the support last. Of another number of cases the folds are as even as can be, the larger ones first.
    - ``"paper"``: the index lists of ADNet's public code, for exactly 20 (CHAOS) or 35 (MS-CMRSeg) cases in natural
      order: {0-4}, {4-8}, {8-12}, {12-16}, {16-19, 0}, or {0-7}, {7-14}, {14-21}, {21-28}, {28-34, 0}. The support is
      the last of the sorted list. In the last list that is 19 (34), since 0 sorts first: volume 0 is scored twice,
      volume 19 (34) never.

    Anything else is a JSON file ``{"folds": [{"train": [...], "support": "case", "queries": [...]}]}``; "support" may
    be a list too.

    Args:
        split: one of the four names, or a file.
        cases: all cases of the data set that are labelled.
        folds: the folds of dataset.json, for ``"within"`` and ``"corrected"``.
        supports: how many cases of each round are labelled, for these two and ``"circular"``.

    Returns:
        one :class:`Fold` per round.

    Raises:
        ScanError: unknown split, missing or too small folds, a number of cases the paper's lists are not for or that is
            too small for five folds, several supports where the split has one, or a file that names unknown cases or
            mixes support, queries and training.
    """
    if supports < 1 or (supports > 1 and split not in _SEVERAL):
        raise ScanError(
            f"{supports} supports: split '{split}' says itself which cases are labelled. Give at least 1 with splits"
            " 'within', 'corrected' and 'circular', else leave it out."
        )
    if split == "paper":
        return _paper(cases)
    if split == "circular":
        return _circular(cases, supports)
    if split not in _NAMED:
        return _from_file(Path(split), cases)
    if not folds:
        raise ScanError(
            f"dataset.json: split {split!r} needs folds and there are none. Write them there, for example"
            ' "folds": [["case_1", "case_2"], ["case_3", "case_4"]].'
        )
    unknown = [name for fold in folds for name in fold if name not in cases]
    if unknown:
        raise ScanError(
            f"dataset.json: folds name {', '.join(unknown)}, not a labelled case. Add the label or leave it out."
        )
    return _within(folds, supports) if split == "within" else _corrected(cases, folds, supports)


def _within(folds: Sequence[Sequence[str]], supports: int) -> list[Fold]:
    small = [i for i, fold in enumerate(folds) if len(fold) <= supports]
    if small:
        raise ScanError(
            f"dataset.json: fold {small[0]} has {len(folds[small[0]])} case(s); split 'within' needs {supports}"
            " support(s) and a query in each. Make the folds larger, or use split 'corrected'."
        )
    return [
        Fold(
            tuple(n for j, other in enumerate(folds) if j != i for n in other),
            tuple(fold[-supports:]),
            tuple(fold[:-supports]),
        )
        for i, fold in enumerate(folds)
    ]


def _corrected(cases: Sequence[str], folds: Sequence[Sequence[str]], supports: int) -> list[Fold]:
    if len(folds) < 2 or any(len(fold) < supports for fold in folds):
        raise ScanError(
            f"dataset.json: folds have {[len(f) for f in folds]} cases; split 'corrected' takes {supports} support(s)"
            " from the next fold. Write at least two folds of at least that many cases."
        )
    made = []
    for i, fold in enumerate(folds):
        support = tuple(folds[(i + 1) % len(folds)][:supports])
        made.append(Fold(tuple(n for n in cases if n not in (*fold, *support)), support, tuple(fold)))
    return made


def _circular(cases: Sequence[str], supports: int) -> list[Fold]:
    ordered = sorted(cases, key=natural_key)
    smallest = len(ordered) // _CIRCULAR_FOLDS
    if smallest < supports:
        raise ScanError(
            f"split 'circular': there are {len(ordered)} labelled cases; it makes {_CIRCULAR_FOLDS} folds, each of at"
            f" least {supports} case(s), and takes {supports} support(s) from the next. Use split 'within' with folds"
            " of your own, or fewer supports."
        )
    folds = [[ordered[i] for i in fold] for fold in np.array_split(np.arange(len(ordered)), _CIRCULAR_FOLDS)]
    return _corrected(ordered, folds, supports)


def _paper(cases: Sequence[str]) -> list[Fold]:
    borders = _PAPER_BORDERS.get(len(cases))
    if borders is None:
        raise ScanError(
            f"split 'paper': there are {len(cases)} labelled cases; its lists are for 20 (CHAOS) or 35 (MS-CMRSeg)."
            " Use split 'corrected' or 'within' instead."
        )
    ordered = sorted(cases, key=natural_key)
    made = []
    for first, last in zip(borders, (*borders[1:], len(cases)), strict=True):
        indices = sorted({i % len(cases) for i in range(first, last + 1)})
        names = [ordered[i] for i in indices]
        train = tuple(name for i, name in enumerate(ordered) if i not in indices)
        made.append(Fold(train, (names[-1],), tuple(names[:-1])))
    return made


def _from_file(path: Path, cases: Sequence[str]) -> list[Fold]:
    found = Findings(path)
    form = 'Write {"folds": [{"train": ["a"], "support": "b", "queries": ["c"]}]}'
    if not path.is_file():
        found.refuse("is not a split and not a file", f"Use {', '.join(_NAMED)}, or name a JSON file")
        found.raise_if_any()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ScanError(f"{path}: is not JSON ({e}). {form}.") from e
    entries = content.get("folds") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        found.refuse("has no list 'folds'", form)
        found.raise_if_any()
    made = [fold for i, entry in enumerate(entries or []) if (fold := _fold(entry, i, form, found)) is not None]
    for i, fold in enumerate(made):
        _validate(fold, f"fold {i}", cases, found)
    found.raise_if_any()
    return made


def _fold(entry: Any, i: int, form: str, found: Findings) -> Fold | None:
    def names(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(name, str) for name in value)

    if not isinstance(entry, dict) or set(entry) != {"train", "support", "queries"}:
        found.refuse(f"fold {i} is {entry!r}", form)
        return None
    support = [entry["support"]] if isinstance(entry["support"], str) else entry["support"]
    if not (names(entry["train"]) and names(entry["queries"]) and names(support)):
        found.refuse(f"fold {i} has a wrong type in {entry!r}", form)
        return None
    return Fold(tuple(entry["train"]), tuple(support), tuple(entry["queries"]))


def _validate(fold: Fold, what: str, cases: Sequence[str], found: Findings) -> None:
    unknown = [name for name in (*fold.train, *fold.support, *fold.queries) if name not in cases]
    if unknown:
        found.refuse(f"{what} names {', '.join(unknown)}, not a labelled case", f"Labelled are {', '.join(cases)}")
    for part, names in (("support", fold.support), ("query", fold.queries)):
        if not names:
            found.refuse(f"{what} has no {part}", "Name at least one")
    for part, names in (("queries", fold.queries), ("training cases", fold.train)):
        shared = [name for name in fold.support if name in names]
        if shared:
            found.refuse(f"{what} has its support {', '.join(shared)} among the {part}", "Leave it out of one of them")
    both = [name for name in fold.queries if name in fold.train]
    if both:
        found.refuse(f"{what} trains on its queries {', '.join(both)}", "Leave them out of one of them")
    twice = sorted({n for part in (fold.train, fold.support, fold.queries) for n in part if part.count(n) > 1})
    if twice:
        found.refuse(f"{what} names {', '.join(twice)} more than once", "Name each case once")
