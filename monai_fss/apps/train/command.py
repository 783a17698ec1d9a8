# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss train`: train a method on a data set."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from monai_fss.apps.arguments import add_bundle_arguments, case_names
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import parse_settings
from monai_fss.apps.train.workflow import train
from monai_fss.data import DatasetFolder

__all__ = ["RESERVED", "add_arguments", "run"]

RESERVED = {
    "bundle_root": "--bundle",
    "dataset_dir": "--data",
    "output_dir": "--output",
    "resume": "--resume",
    "cases": "--cases",
    "device": "--device",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_bundle_arguments(parser, "train.yaml", "steps=500 elastic::rotate=0.1")
    parser.add_argument(
        "--data", required=True, metavar="DATASET_DIR", help="data set folder with images/ (see `monai-fss check`)"
    )
    parser.add_argument("--output", required=True, metavar="RUN_DIR", help="output folder for model.pt and checkpoints")
    parser.add_argument("--resume", action="store_true", help="resume from the newest checkpoint in RUN_DIR")
    parser.add_argument(
        "--overwrite", action="store_true", help="delete the training in RUN_DIR and start from scratch"
    )
    parser.add_argument("--cases", metavar="A,B,C", help="train on these cases only (default: all)")
    parser.add_argument("--recipe", metavar="NAME", help="merge configs/NAME.yaml over train.yaml, such as paper")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    method = _method(args.bundle, args.recipe)
    settings = parse_settings(args.set, method.files, method.reserve(RESERVED))
    cases = None if args.cases is None else case_names(args.cases, DatasetFolder.read(args.data).cases)
    start = time.time()
    steps = train(
        method,
        args.data,
        args.output,
        cases=cases,
        settings=settings,
        device=args.device,
        resume=args.resume,
        overwrite=args.overwrite,
    )
    output = Path(args.output)
    written = ", ".join(name for name in ("model.pt", "model_best.pt") if (output / name).exists())
    print(f"trained {steps} steps, {(time.time() - start) / 60:.1f} minutes in this run")
    print(f"{output}: {written}")
    support = "--support-image A.nii.gz --support-label A_seg.nii.gz " if method.needs_support else ""
    model = output / "model.pt"
    print(f"next: monai-fss segment --model {model} {support}--images DIR --output DIR")
    return 0


def _method(bundle: str, recipe: str | None) -> Method:
    """The method of --bundle and --recipe."""
    method = Method.parse(bundle, RESERVED)
    if recipe is None:
        return method
    if method.recipe is not None:
        raise UsageError(f"--recipe {recipe}, --bundle {bundle}: name a recipe each. Leave one of them out.")
    if recipe not in method.recipes:
        known = ", ".join(method.recipes) or "none"
        raise UsageError(f"--recipe {recipe}: {method.bundle} has no such recipe. It has {known}.")
    return Method(method.bundle, recipe, method.values)
