# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Checks for the ``initialize`` part of a bundle: bad input ends the program in plain words.

MONAI reports an exception from deep inside a configuration some 45 lines above the last line; these functions print
every problem, a line each, and leave with exit code 2 before anything is built or written.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.data.checks.inputs import inference_problems, problems_of, query_problems, training_problems
from monai_fss.data.checks.model_settings import check_model_settings
from monai_fss.data.dataset import chosen_cases
from monai_fss.data.fold_items import fold_items
from monai_fss.data.items import labelled_organs, training_items
from monai_fss.data.problems import ScanError
from monai_fss.data.reading.scans import check_label, check_scan

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "check_fold",
    "check_given",
    "check_inference",
    "check_left_out",
    "check_located_inference",
    "check_scans",
    "check_start",
    "check_training",
]


def check_training(folder: str | Path, cases: Sequence[str] | None = None) -> None:
    """End the program with exit code 2 if a scan to train on is bad.

    Args:
        folder: data set folder.
        cases: names. Default: all.

    Raises:
        SystemExit: 2, after the problems have been printed.
    """
    _end(training_problems(folder, cases))


def check_given(folder: str | Path, data: Sequence[Mapping[str, Any]]) -> None:
    """End the program with exit code 2 if there is nothing to train on, or a scan of a list is bad.

    Args:
        folder: data set folder; where there is one, see :func:`check_training`.
        data: what is trained on where there is none, each with ``image`` and, where known, ``label``: MONAI Label gives
            such a list.

    Raises:
        SystemExit: 2, after the problems have been printed.
    """
    if str(folder):
        return
    problems = [] if data else ["dataset_dir: is not set. Name the folder that holds images/, with --dataset_dir DIR."]
    for item in data:
        problems += problems_of(lambda path=item["image"]: check_scan(Path(path)))  # type: ignore[misc]
    _end(problems)


def check_left_out(
    folder: str | Path,
    cases: Sequence[str] | None,
    leave_out: Collection[int] | None,
    shortest: int = 2,
    unseen: Collection[int] | None = None,
) -> None:
    """End the program with exit code 2 if slices of test classes cannot be left out, or no labelled organ is left.

    For a bundle's ``initialize``.

    Args:
        folder: data set folder.
        cases: names. Default: all.
        leave_out: label values; None (setting 1): no slice is left out.
        shortest: see :func:`slice_runs`.
        unseen: label values that labelled episodes are not of, see :func:`labelled_organs`. Default None: episodes are
            of pseudo-labels.

    Raises:
        SystemExit: 2, after the problems have been printed: those of :func:`slice_runs` and :func:`labelled_organs`,
            and of labels that do not belong to their images.
    """
    if not str(folder) or (leave_out is None and unseen is None):
        return
    problems: list[str] = []
    for case in chosen_cases(folder, cases):
        try:
            if case.label is not None:
                check_label(case.label, check_scan(case.image))
        except ScanError as error:
            problems += error.problems
    try:
        if not problems and unseen is not None:
            labelled_organs(folder, cases, unseen)
        if not problems:
            training_items(folder, cases, leave_out, shortest, unseen is not None)
    except ScanError as error:
        problems = error.problems
    _end(problems)


def check_scans(
    support_image: str | Sequence[str],
    support_label: str | Sequence[str],
    labels: Sequence[int] | None,
    images: str | Path,
    prnet: str | Path | None = None,
) -> None:
    """:func:`check_inference` for a method without a model."""
    _end(inference_problems(support_image, support_label, labels, images) + _prnet_problems(prnet))


def check_inference(
    model: str | Path,
    network: nn.Module,
    support_image: str | Sequence[str],
    support_label: str | Sequence[str],
    labels: Sequence[int] | None,
    images: str | Path,
    settings: Mapping[str, Any] | None = None,
    prnet: str | Path | None = None,
) -> None:
    """Load the model, and end the program with exit code 2 if it, a support scan or a query is bad.

    Args:
        model: model file.
        network: what it is loaded into.
        support_image, support_label: one or several labelled scans.
        labels: label values wanted, None for all.
        images: folder of the scans to segment, or one scan.
        settings: how the configuration treats scans. Where the model was trained with other values, its results would
            be wrong without a word: that is refused. None: not compared.
        prnet: file of PRNet's networks that the masks are compared by, None where they are not.

    Raises:
        SystemExit: 2, after the problems have been printed.
    """
    from monai_fss.data.files.models import load_model

    problems = inference_problems(support_image, support_label, labels, images) + _prnet_problems(prnet)
    problems += problems_of(lambda: check_model_settings(model, settings or {}))
    _end(problems or problems_of(lambda: load_model(model, network)))


def check_fold(
    folder: str | Path,
    split: str | Path = "within",
    fold: int = 0,
    supports: int = 1,
    model: str | Path | None = None,
    network: nn.Module | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Load the model where there is one, and end the program with exit code 2 if it, or a scan or a label of the fold,
    is bad; for the ``initialize`` of an evaluation.

    Args:
        folder, split, fold, supports: see :func:`monai_fss.data.fold_items`.
        model: model file. Default: the method has none.
        network, settings: see :func:`check_inference`.

    Raises:
        SystemExit: 2, after the problems have been printed.
    """
    from monai_fss.data.files.models import load_model

    problems: list[str] = []
    try:
        files = fold_items(folder, split, fold, supports)
        names = (*files.support, *files.cases)
        replace(files.data, cases={name: files.data.cases[name] for name in names}).check()
    except ScanError as error:
        problems = error.problems
    if model is not None and network is not None:
        problems += problems_of(lambda: check_model_settings(model, settings or {}))
        if not problems:
            problems = problems_of(lambda: load_model(model, network))
    _end(problems)


def check_located_inference(
    model: str | Path, network: nn.Module, images: str | Path, settings: Mapping[str, Any] | None = None
) -> None:
    """:func:`check_inference` for a model that needs no labelled scan any more."""
    from monai_fss.data.files.models import load_model

    problems = query_problems(images) + problems_of(lambda: check_model_settings(model, settings or {}))
    _end(problems or problems_of(lambda: load_model(model, network)))


def check_start(model: str | Path, network: nn.Module, settings: Mapping[str, Any], say: bool = True) -> None:
    """:func:`monai_fss.data.start_from`, or end the program with exit code 2 where it refuses the model file.

    Raises:
        SystemExit: 2, after the problem has been printed.
    """
    from monai_fss.data.files.start import start_from

    _end(problems_of(lambda: start_from(model, network, settings, say)))


def _prnet_problems(file: str | Path | None) -> list[str]:
    from monai_fss.data.files.propagation_file import read_propagation

    return problems_of(lambda: read_propagation(file)) if file else []


def _end(problems: list[str]) -> None:
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit(2)
