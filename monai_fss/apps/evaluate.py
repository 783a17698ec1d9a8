# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss evaluate`: train and test on the folds of a data set, by the papers' protocols."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.apps.arguments import add_bundle_arguments
from monai_fss.apps.bundles import bundle_path, device_setting, is_trained, parse_settings
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluation import Evaluation
from monai_fss.apps.fold_trial import FoldTrial, protocol_of
from monai_fss.apps.results import Entry, Results, write_results
from monai_fss.apps.segment import support_slices
from monai_fss.apps.versions import versions
from monai_fss.data import DatasetFolder, Fold, Label, ScanError, check_output, make_folds

__all__ = ["Evaluation", "add_arguments", "evaluate", "run"]

RESERVED = {
    "bundle_root": "--bundle",
    "dataset_dir": "--data",
    "output_dir": "--output",
    "cache_dir": "--models",
    "cases": "--split",
    "seed": "--seed",
    "resume": "--models",
    "val_queries": "--split",
    "device": "--device",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_bundle_arguments(parser, "train.yaml", "steps=500")
    parser.add_argument("--data", required=True, help="data set folder with labels")
    parser.add_argument("--protocol", choices=("ep1", "ep2"), default="ep2")
    parser.add_argument("--split", default="within", help="paper, corrected, within, or a JSON file")
    parser.add_argument("--ways", choices=("independent", "compete"), default="independent")
    parser.add_argument("--runs", type=int, default=1, help="repetitions with other seeds (the papers: 3)")
    parser.add_argument("--fold", type=int, help="only this fold, counted from 0")
    parser.add_argument("--supports", type=int, default=1, help="labelled scans of each fold (default: 1)")
    parser.add_argument("--support-slices", help="for ep2: middle (default, the paper's), a number, or all; atlas: all")
    parser.add_argument("--prior", choices=("atlas",), help="combine the network with the registered labelled scan")
    parser.add_argument("--prior-weight", type=float, default=0.1, help="of the network then (default: 0.1)")
    parser.add_argument("--quality", action="store_true", help="also compare the label-free quality with the Dice")
    parser.add_argument("--model", help="evaluate this model.pt instead of training one for each fold")
    parser.add_argument("--models", help="where trained models are kept and found again (default: OUTPUT/models)")
    parser.add_argument("--output", required=True, help="folder for results.json, .csv, .md and the threshold curve")
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first run")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    files = [settings_file(args.bundle)]
    evaluation = Evaluation(
        bundle=args.bundle,
        data=args.data,
        protocol=args.protocol,
        split=args.split,
        ways=args.ways,
        runs=args.runs,
        fold=args.fold,
        supports=args.supports,
        support_slices=_slices(args.bundle, args.support_slices),
        model=args.model,
        prior=args.prior,
        prior_weight=args.prior_weight,
        quality=args.quality,
        seed=args.seed,
        device=args.device,
        settings=parse_settings(args.set, files, RESERVED),
        command=" ".join(["monai-fss", *sys.argv[1:]]),
    )
    if args.model is not None and args.models is not None:
        raise UsageError("--model, --models: contradict each other. Give --model to train nothing, or --models.")
    results = evaluate(evaluation, args.output, args.models, args.overwrite)
    print((Path(args.output) / "results.md").read_text(encoding="utf-8"))
    return 0 if results.entries else 1


def evaluate(
    evaluation: Evaluation, output: str | Path, models: str | Path | None = None, overwrite: bool = False
) -> Results:
    """Train where no model is given, test, and write ``results.json``, ``.csv``, ``.md`` and pictures.

    Test figures come from the last checkpoint of a step count that is fixed beforehand. Trained models are kept, and
    used again by another protocol over the same folds, runs and settings; an interrupted training goes on.

    Args:
        evaluation: what and how.
        output: folder for the results.
        models: folder for the models. Default: ``output/models``.
        overwrite: replace results that exist.

    Raises:
        ScanError: with every problem of the data; nothing has been written then.
        UsageError: the evaluation contradicts itself; nothing has been written then.
    """
    from monai_fss.apps.evaluation_plots import draw
    from monai_fss.apps.fold_models import fold_model

    _check(evaluation)
    check_output(output, ["results.json", "results.csv", "results.md"], overwrite)
    data = DatasetFolder.read(evaluation.data)
    labels = {summary.name: summary.label for summary in data.check() if summary.label}
    values = sorted({value for label in labels.values() for value in label.counts})
    names = {value: name for name, value in data.names_for(values).items()}
    folds = _folds(evaluation, data)
    _check_supports([labels[name] for _, fold in folds for name in fold.support])
    entries: list[Entry] = []
    curves: list[tuple[float, np.ndarray]] = []
    notes: list[str] = []
    for number, fold in folds:
        for repetition in range(evaluation.runs):
            model = None
            if is_trained(evaluation.bundle):
                model = fold_model(evaluation, data, fold, number, repetition, Path(models or Path(output) / "models"))
            test = FoldTrial(evaluation, data, fold, names, model, Path(models or Path(output) / "models"))
            entries += test.entries(number, repetition)
            curves += test.curve()
            notes += [f"fold {number}: {name} is not in its support" for name in test.scorer.left_out]
    results = Results(_settings(evaluation, data, folds, sorted(set(notes))), entries)
    write_results(output, results)
    draw(results, curves, Path(output))
    return results


def settings_file(bundle: str) -> Path:
    """The configuration that ``--set`` changes: of the training, or of the inference where there is none."""
    return bundle_path(bundle) / "configs" / ("train.yaml" if is_trained(bundle) else "inference.yaml")


def _slices(bundle: str, text: str | None) -> int | str:
    if is_trained(bundle):
        return support_slices(text or "middle")
    if text not in (None, "all"):
        raise UsageError(f"--support-slices {text}: {bundle} uses all slices of a labelled scan. Leave it out.")
    return "all"


def _check(evaluation: Evaluation) -> None:
    """Refuse what would be left out without a word."""
    problems = []
    if evaluation.runs < 1:
        problems.append(f"--runs {evaluation.runs}: is less than 1. Give at least 1.")
    if evaluation.seed < 0:
        problems.append(f"--seed {evaluation.seed}: is negative. Give 0 or more.")
    if evaluation.model is not None and evaluation.runs > 1:
        problems.append(f"--runs {evaluation.runs}: repeats trainings, but --model is given. Leave one of them out.")
    if evaluation.model is not None and evaluation.settings:
        problems.append("--set: changes a training, but --model is given. Leave one of them out.")
    if not is_trained(evaluation.bundle):
        problems += _untrainable(evaluation)
    elif evaluation.protocol == "ep1" and evaluation.support_slices != "middle":
        problems.append("--support-slices: is of ep2; ep1 uses three slices. Leave it out, or give --protocol ep2.")
    if problems:
        raise UsageError(problems)
    device_setting(evaluation.device)


def _untrainable(evaluation: Evaluation) -> list[str]:
    name = evaluation.bundle
    problems = []
    if evaluation.prior is not None:
        problems.append(f"--prior {evaluation.prior}: joins a trained network; {name} is none. Leave it out.")
    if evaluation.model is not None:
        problems.append(f"--model {evaluation.model}: {name} is not trained and takes none. Leave it out.")
    if evaluation.runs > 1:
        problems.append(f"--runs {evaluation.runs}: {name} gives the same masks each time. Leave it out.")
    return problems


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


def _settings(
    evaluation: Evaluation, data: DatasetFolder, folds: Sequence[tuple[int, Fold]], notes: list[str]
) -> dict[str, Any]:
    return {
        "bundle": evaluation.bundle,
        "dataset": data.name,
        "split": evaluation.split,
        "protocol": evaluation.protocol,
        "ways": evaluation.ways,
        "runs": evaluation.runs,
        "labelled_scans": "/".join(map(str, sorted({len(fold.support) for _, fold in folds}))),
        "labelled_slices": _labelled_slices(evaluation),
        "prior": f"{evaluation.prior}, weight of the network {evaluation.prior_weight}" if evaluation.prior else "none",
        "folds": [number for number, _ in folds],
        "support": [", ".join(fold.support) for _, fold in folds],
        "seed": evaluation.seed,
        "model": evaluation.model or _model_note(evaluation.bundle),
        "training_settings": evaluation.settings,
        "command": evaluation.command,
        "versions": versions(),
        "notes": notes,
    }


def _labelled_slices(evaluation: Evaluation) -> int | str:
    registered = evaluation.prior or not is_trained(evaluation.bundle)
    return "all" if registered else protocol_of(evaluation).labelled_slices


def _model_note(bundle: str) -> str:
    return "trained for each fold and run, last checkpoint" if is_trained(bundle) else "none: not trained"
