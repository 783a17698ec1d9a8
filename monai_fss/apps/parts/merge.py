# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss merge`: one table of those of all parts, where the last one to finish could not make it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_fss.apps.errors import UsageError
from monai_fss.apps.parts.part import parts_in

__all__ = ["add_arguments", "run"]

SEGMENTED, EVALUATED = ("report.json", ".run.json", "quality.csv"), ("results.json",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("output", metavar="OUT", help="output folder of segment or evaluate with --num-parts")


def run(args: argparse.Namespace) -> int:
    """Run the command; it may be repeated.

    Raises:
        UsageError: the folder holds no parts, or some are not done.
    """
    output = Path(args.output)
    found = {(name, part.count) for name, part, _ in parts_in(output)}
    for kind, join in ((SEGMENTED, _segmented), (EVALUATED, _evaluated)):
        counts = sorted({count for name, count in found if name in kind})
        if len(counts) > 1:
            raise UsageError(f"{output}: holds {' and '.join(map(str, counts))} parts. Remove those not wanted.")
        if counts:
            return join(output, counts[0])
    raise UsageError(f"{output}: holds no parts. Give the --output of a command with --num-parts.")


def _segmented(output: Path, count: int) -> int:
    from monai_fss.apps.segment.parts import join, unfinished_parts

    report = join(output, count)
    if report is None:
        raise _unfinished(output, count, unfinished_parts(output, count))
    print(f"{count} parts joined: {len(report['inputs']['cases'])} scan(s), see {output / 'quality.csv'}")
    if report["failed"]:
        print("\n".join(["could not be segmented:", *report["failed"].values()]), file=sys.stderr)
    return 1 if report["failed"] else 0


def _evaluated(output: Path, count: int) -> int:
    from monai_fss.apps.parts.evaluated import join, unfinished_parts

    if join(output, count) is None:
        raise _unfinished(output, count, unfinished_parts(output, count))
    print(f"{count} parts joined, see {output / 'results.md'}")
    return 0


def _unfinished(output: Path, count: int, missing: list[int]) -> UsageError:
    ids = ", ".join(map(str, missing))
    return UsageError(f"{output}: of {count} parts {ids} not done. Do by the same command with --part-id {missing[0]}.")
