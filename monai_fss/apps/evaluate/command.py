# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss evaluate`: one method, or several under the same budget."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.arguments import add_bundle_arguments, label_values, support_slices
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.anchors import ANCHOR_RULES
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.method import PRIORS, Method
from monai_fss.apps.methods.settings import parse_settings
from monai_fss.apps.parts.part import add_part_arguments, given_part

if TYPE_CHECKING:
    from monai_fss.results.entries import Results

__all__ = ["add_arguments", "run"]

RESERVED = {
    "bundle_root": "--bundle",
    "dataset_dir": "--data",
    "output_dir": "--output",
    "cache_dir": "--models",
    "cases": "--split",
    "setting": "--setting",
    "test_classes": "--groups",
    "leave_out": "--setting",
    "seed": "--seed",
    "resume": "--models",
    "val_queries": "--split",
    "device": "--device",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_bundle_arguments(parser, "train.yaml", "steps=500 crapnet.blocks=7", several=True)
    parser.add_argument("--data", required=True, help="data set folder with labels")
    parser.add_argument(
        "--protocol",
        choices=("ep1", "ep2"),
        default="ep2",
        help="ep1: three labelled slices, and the slice range of each organ in the query is given; ep2: one labelled "
        "slice, whole query (default)",
    )
    parser.add_argument(
        "--ep1-rule",
        choices=("shown", "range", "paired"),
        default="shown",
        help="what ep1 divides into three: shown: the list of slices that show the organ, as ADNet does (default); "
        "range: all from the first to the last that shows it, as ALPNet's code does; paired: these, as SE-Net's does",
    )
    parser.add_argument(
        "--split",
        default="within",
        help="within (default): a fold's last scan is labelled; corrected: the next fold's first, and every scan is a "
        "query once; circular: the same for five folds of neighbours, as ALPNet and CRAPNet have them; paper: ADNet's "
        "lists for 20 or 35 scans; or a JSON file",
    )
    parser.add_argument(
        "--setting", type=int, choices=(1, 2), default=1, help="2: exclude the test classes from training"
    )
    parser.add_argument(
        "--groups",
        nargs="+",
        default=[],
        help="classes excluded from training together (--setting 2, or episodes=labels), such as 2,3 1,6",
    )
    parser.add_argument("--labels", help="label values to score, such as 1,2,3,6 (default: all)")
    parser.add_argument(
        "--ways",
        choices=("independent", "compete"),
        default="independent",
        help="independent: score each class as a binary mask, as the papers do (default); compete: score the label map "
        "that `segment` writes",
    )
    parser.add_argument(
        "--runs", type=int, default=1, help="training runs per fold, each with another seed (the papers: 3)"
    )
    parser.add_argument("--fold", type=int, help="evaluate this fold only (the first is 0)")
    parser.add_argument("--supports", type=int, default=1, help="labelled scans per fold (default: 1)")
    parser.add_argument(
        "--anchor-rule",
        choices=tuple(ANCHOR_RULES),
        default="split",
        help="which scan is labelled: split: the split's (default); suggested: the most typical one that is no query, "
        "by images alone, as `suggest` has it, be it a training case or not; oracle: organ by organ, the query nearest "
        "to the average of the queries' labels (OrganNet's paper), not scored itself: a bound, as it knows these",
    )
    parser.add_argument(
        "--support-slices", help="labelled slices in ep2: middle (default, the paper's), a number, or all; atlas: all"
    )
    parser.add_argument(
        "--prior",
        choices=PRIORS,
        help="combine the network with the registered labelled scan, or do not (default: as the bundle has it)",
    )
    parser.add_argument("--prior-weight", type=float, help="weight of the network then (default: the bundle's)")
    parser.add_argument(
        "--transductive",
        action="store_true",
        help="train on the images of the scans that are scored too, never on their labels",
    )
    parser.add_argument(
        "--quality", action="store_true", help="also compare the label-free quality score with the Dice"
    )
    parser.add_argument("--no-baselines", action="store_true", help="skip the untrained network and the pasted masks")
    # its name of before
    parser.add_argument("--no-floors", dest="no_baselines", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--spread",
        choices=("folds", "pooled", "patients", "runs"),
        default="folds",
        help="what the deviations in the tables are over: folds (ADNet's Tables 1 and 2; default), pooled (its Table "
        "8), patients (PRNet's), runs (OrganNet's)",
    )
    parser.add_argument(
        "--tolerances",
        metavar="MM",
        help="of the normalised surface Dice, such as liver=5,spleen=3, or 2 for all others (default: those of FLARE "
        "2022, and 2 mm where it has none)",
    )
    parser.add_argument("--budget", help="training budget per model: 800 (steps) or 8min")
    parser.add_argument("--model", help="evaluate this model.pt instead of training one for each fold")
    parser.add_argument("--models", help="folder of trained models, reused when it exists (default: OUTPUT/models)")
    parser.add_argument("--output", required=True, help="folder for results.json, .csv, .md and pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first run")
    add_part_arguments(parser, "queries; of trained methods, of the trainings with their queries")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from monai_fss.apps.evaluate.one import evaluate
    from monai_fss.apps.evaluate.several import evaluate_many

    if args.model is not None and args.models is not None:
        raise UsageError("--model, --models: contradict each other. Give --model to train nothing, or --models.")
    output, models = Path(args.output), Path(args.models or Path(args.output) / "models")
    evaluations, part = _evaluations(args), given_part(args)
    if len(evaluations) > 1 and not part.whole:
        raise UsageError(f"--num-parts {part.count}: is for one method. Name one bundle, and one --output for each.")
    results: Results | None
    if len(evaluations) == 1:
        results = evaluate(evaluations[0], output, models, args.overwrite, args.budget, part=part)
    else:
        results = evaluate_many(evaluations, output, models, args.overwrite, args.budget)
    if results is None:
        print(f"{part}: done; the last one to finish joins the results")
        return 0
    print((output / "results.md").read_text(encoding="utf-8"))
    return 0 if results.entries else 1


def _evaluations(args: argparse.Namespace) -> list[Evaluation]:
    methods = [Method.parse(name, RESERVED) for name in args.bundle]
    names = [method.name for method in methods]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--bundle {', '.join(twice)}: is given twice. Name each method once.")
    labels = label_values(args.labels)
    tolerances = _tolerances(args.tolerances)
    return [
        Evaluation(
            method=method,
            data=args.data,
            protocol=args.protocol,
            ep1_rule=args.ep1_rule,
            split=args.split,
            ways=args.ways,
            runs=args.runs,
            fold=args.fold,
            setting=args.setting,
            groups=tuple(tuple(label_values(group, "--groups") or ()) for group in args.groups),
            labels=None if labels is None else tuple(labels),
            supports=args.supports,
            support_slices=_slices(method, args.support_slices, len(args.bundle)),
            model=args.model,
            prior=args.prior,
            prior_weight=args.prior_weight,
            quality=args.quality,
            baselines=not args.no_baselines,
            seed=args.seed,
            device=args.device,
            settings=settings,
            command=" ".join(["monai-fss", *_without_part(sys.argv[1:])]),
            spread=args.spread,
            anchor_rule=args.anchor_rule,
            tolerances=tolerances,
            transductive=args.transductive,
        )
        for method, settings in zip(methods, _settings(args.set, methods), strict=True)
    ]


def _tolerances(text: str | None) -> dict[str, float]:
    from monai_fss.metrics import parse_tolerances

    try:
        return parse_tolerances(text) if text is not None else {}
    except ValueError as error:
        raise UsageError(f"--tolerances {error}") from error


def _without_part(words: Sequence[str]) -> list[str]:
    """The command without its part: the results are of all."""
    kept, options = [], ("--num-parts", "--part-id")
    for before, word in zip(["", *words], words, strict=False):
        if word not in options and before not in options and not word.startswith(tuple(f"{o}=" for o in options)):
            kept.append(word)
    return kept


def _settings(pairs: Sequence[str], methods: Sequence[Method]) -> list[dict[str, Any]]:
    """``KEY=VALUE`` is for every method that has the key and does not set it in its name; ``BUNDLE.KEY=VALUE`` for
    those of a bundle, and goes before.

    The keys of a method are those of its bundle's file and of its recipe's.
    """
    files, known = [method.files for method in methods], [method.known for method in methods]
    reserved = [method.reserve(RESERVED) for method in methods]
    common: list[list[str]] = [[] for _ in methods]
    special: list[list[str]] = [[] for _ in methods]
    for pair in pairs:
        first, _, rest = pair.partition(".")
        asked = [number for number, method in enumerate(methods) if method.bundle == first]
        target, text = (special, rest) if asked else (common, pair)
        asked, key = asked or [*range(len(methods))], _key(text)
        # A key that none of them has is given to the first one, whose refusal names the nearest key.
        having = [number for number in asked if key in known[number]]
        free = [number for number in having if key not in methods[number].values]
        for number in free or having or asked[:1]:
            target[number].append(text)
    common = [
        [pair for pair in general if _key(pair) not in map(_key, own)]
        for general, own in zip(common, special, strict=True)
    ]
    return [
        {**parse_settings(general, own, taken), **parse_settings(particular, own, taken)}
        for general, particular, own, taken in zip(common, special, files, reserved, strict=True)
    ]


def _key(pair: str) -> str:
    return pair.partition("=")[0].strip().replace("#", "::")


def _slices(method: Method, text: str | None, count: int) -> int | str:
    if method.is_trained:
        return support_slices(text or "middle")
    if text not in (None, "all") and count == 1:
        raise UsageError(f"--support-slices {text}: {method.bundle} uses all slices of a labelled scan. Leave it out.")
    return "all"
