# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss compare`: test two evaluations against each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_fss.apps.errors import UsageError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("results_a", metavar="RESULTS_A", help="folder that `evaluate` wrote, or its results.json")
    parser.add_argument("results_b", metavar="RESULTS_B", help="another one, of the same data set and protocol")
    parser.add_argument("--method-a", help="which method of A (default: its bundle), such as 'mask paste'")
    parser.add_argument("--method-b", help="which method of B (default: its bundle)")
    parser.add_argument(
        "--spread",
        choices=("folds", "pooled", "patients", "runs"),
        help="also show mean and deviation of both by all of their queries, as `evaluate --spread` defines them",
    )
    parser.add_argument("--output", metavar="FILE", help="write the tables (Markdown) to this file too")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from monai_fss.apps.results.compare import compare, format_comparison, format_means
    from monai_fss.data import check_output, write_text_atomic
    from monai_fss.results.files import read_results

    file = Path(args.output) if args.output else None
    if file is not None:
        check_output(file.parent, [file.name], overwrite=args.overwrite)
    try:
        results = read_results(args.results_a), read_results(args.results_b)
        comparison = compare(*results, method_a=args.method_a, method_b=args.method_b)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error
    text = format_comparison(comparison)
    if args.spread:
        text = f"{text}\n{format_means(*results, comparison, args.spread)}"
    print(text, end="")
    if file is not None:
        write_text_atomic(file, text)
    return 0
