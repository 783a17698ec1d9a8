# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss check`: judge a data set and list what is in it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from monai_fss.data import CaseSummary, DatasetFolder
from monai_fss.results.markdown import markdown_table

__all__ = ["add_arguments", "format_dataset", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "data",
        metavar="DATASET_DIR",
        help="folder with images/<case>.nii.gz and, where known, labels/<case>.nii.gz and dataset.json",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    data = DatasetFolder.read(args.data)
    print(format_dataset(data, data.check()))
    return 0


def format_dataset(data: DatasetFolder, summaries: Sequence[CaseSummary]) -> str:
    """
    What a data set holds, as text.

    Args:
        data: the data set.
        summaries: what ``data.check()`` returned.

    Returns:
        a table with one line per case (shape in voxels, spacing in mm, range of intensities, volume of each label in
        ml), absent organs, the number of labelled cases, and the folds.
    """
    head = ["case", "shape", "spacing (mm)", "intensities", "labels (ml)"]
    lines = [f"{data.name}{f' ({data.modality})' if data.modality else ''}: {data.root}", ""]
    lines += [markdown_table(head, [_row(data, summary) for summary in summaries]), ""]
    lines += [f"{summary.name}: no {', '.join(summary.absent)} in its label" for summary in summaries if summary.absent]
    lines.append(f"{len(summaries)} case(s), {sum(summary.label is not None for summary in summaries)} labelled")
    lines += [f"fold {number}: {', '.join(fold)}" for number, fold in enumerate(data.folds)]
    return "\n".join(lines)


def _row(data: DatasetFolder, summary: CaseSummary) -> list[str]:
    scan, label = summary.scan, summary.label
    text = "-"
    if label is not None:
        ml = abs(float(np.linalg.det(label.affine[:3, :3]))) / 1000
        named = data.names_for(label.counts).items()
        text = ", ".join(f"{name} {label.counts[value] * ml:.1f}" for name, value in named) or "none"
    return [
        summary.name,
        " x ".join(map(str, scan.shape)),
        " x ".join(f"{length:.4g}" for length in scan.spacing),
        f"{scan.minimum:g} to {scan.maximum:g}",
        text,
    ]
