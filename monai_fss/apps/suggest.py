# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss suggest`: which scan to label first, and which next; of a folder of masks, which to correct."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from monai_fss.apps.arguments import case_names
from monai_fss.apps.correct.advice import COLUMNS as GAIN_COLUMNS
from monai_fss.apps.correct.advice import advice_text, suggested
from monai_fss.apps.correct.folder import SegmentedFolder, is_segmented
from monai_fss.apps.distances import known_signature, registered, scaled_scan, scan_distances
from monai_fss.apps.errors import UsageError
from monai_fss.apps.parts.part import Part, add_part_arguments, given_part
from monai_fss.apps.parts.suggested import shared_signatures
from monai_fss.data import Case, DatasetFolder, check_output, natural_key, write_text_atomic
from monai_fss.results.markdown import markdown_table

if TYPE_CHECKING:
    import numpy as np
    import torch
    from monai.data import MetaTensor

    from monai_fss.data import ContentCache

__all__ = ["COLUMNS", "Suggestion", "add_arguments", "known_signature", "run", "scaled_scan", "suggest"]

COLUMNS = ("rank", "case", "why", "mean_distance", "nearest_chosen", "coverage_mean", "coverage_worst")
FIRST, NEXT = "closest to the average", "worst covered so far"


@dataclass(frozen=True)
class Suggestion:
    """One line of the ranking; distances are in units of the average pair of scans.

    Args:
        rank: 1 for the scan to label first.
        case: its name.
        why: the rule that chose it.
        mean_distance: to the other scans: how far it is from the average.
        nearest_chosen: to the nearest of those labelled already or ranked before; nan for the first of all.
        coverage_mean: mean distance of all scans to the nearest chosen one, this one included.
        coverage_worst: the largest of these distances.
    """

    rank: int
    case: str
    why: str
    mean_distance: float
    nearest_chosen: float
    coverage_mean: float
    coverage_worst: float

    def cells(self) -> list[str]:
        """As text, in the order of :data:`COLUMNS`; nothing for what is undefined."""
        numbers = (self.mean_distance, self.nearest_chosen, self.coverage_mean, self.coverage_worst)
        return [str(self.rank), self.case, self.why, *("" if math.isnan(x) else f"{x:.3f}" for x in numbers)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "data",
        metavar="DIR",
        help="data set with images/ (see `check`; labels are not used), or a folder that `segment` has written: "
        "which of its masks to correct first",
    )
    parser.add_argument("--labelled", metavar="A,B", help="cases that are labelled already: suggest what to add")
    parser.add_argument("--count", type=int, metavar="N", help="how many scans to suggest (default: rank all)")
    parser.add_argument("--output", metavar="FILE.csv", help="write the table to this file too")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE.csv if it exists")
    add_part_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    file, part = Path(args.output) if args.output else None, given_part(args)
    if not part.whole and file is None:
        raise UsageError(f"--num-parts {part.count}: needs --output FILE.csv, beside which the parts keep their work.")
    if file is not None:
        check_output(file.parent, [file.name], overwrite=args.overwrite)
    if is_segmented(args.data):
        if not part.whole:
            raise UsageError(f"--num-parts {part.count}: masks are ranked at once. Leave it out.")
        return _correction(args, file)
    data = DatasetFolder.read(args.data)
    labelled = case_names(args.labelled or "", data.cases)
    _check(data, labelled, args.count)
    names = part.of(sorted(data.cases, key=natural_key))
    replace(data, cases={name: data.cases[name] for name in names}).check()
    distances = _part_of_distances(data, part, file) if file and not part.whole else None
    if distances is None and not part.whole:
        print(f"{part}: done; the last one to finish writes {file}")
        return 0
    rows = suggest(data, labelled, args.count) if distances is None else _ranked(data, distances, labelled, args.count)
    print(f"{data.name}{f' ({data.modality})' if data.modality else ''}: {data.root}\n")
    print(_format(rows, labelled))
    _write(file, COLUMNS, [row.cells() for row in rows])
    return 0


def _correction(args: argparse.Namespace, file: Path | None) -> int:
    """Of a folder of masks: which of them to correct first."""
    run = SegmentedFolder.read(args.data)
    _check_count(args.count)
    order = suggested(run, _known(args.labelled, run), args.count)
    print(advice_text(order, whole=True))
    _write(file, GAIN_COLUMNS, [gain.cells(rank) for rank, gain in enumerate(order, 1)])
    return 0


def _known(labelled: str | None, run: SegmentedFolder) -> list[str]:
    names = case_names(labelled or "", run.scans)
    missing = [name for name in names if name not in run.scans]
    if missing:
        raise UsageError(f"--labelled {','.join(missing)}: no such case. {run.output} has {', '.join(run.scans)}.")
    return names


def _check_count(count: int | None) -> None:
    if count is not None and count < 1:
        raise UsageError(f"--count {count}: is less than 1. Ask for at least one scan, or leave it out.")


def _write(file: Path | None, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if file is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        write_text_atomic(file, text.getvalue())


def suggest(
    data: DatasetFolder,
    labelled: Sequence[str] = (),
    count: int | None = None,
    cache: ContentCache | None = None,
) -> list[Suggestion]:
    """
    Rank the scans of a data set for labelling.

    All are registered affinely to the one of median body size and compared there (see
    :mod:`monai_fss.registration.scan_distances`). The first is the scan closest to the average, OrganNet's rule for its
    anchor; each next one is the scan whose distance to the nearest chosen one is largest. Equal scans go by name.

    Args:
        data: the scans; its labels are not used. CT is clipped to soft tissue where dataset.json says that it is CT,
            other scans to their 0th to 99.5th percentile, as in training.
        labelled: cases that are labelled already: the ranking goes on from them.
        count: how many to rank at most. Default: all that are left.
        cache: keeps what the registrations gave. Default: nothing is kept.

    Returns:
        The ranking, in order.

    Raises:
        ScanError: a scan cannot be registered.
    """
    return _ranked(data, _distances(_in_order(data), data.modality, cache), labelled, count)


def _in_order(data: DatasetFolder) -> list[Case]:
    return [data.cases[name] for name in sorted(data.cases, key=natural_key)]


def _ranked(data: DatasetFolder, distances: np.ndarray, labelled: Sequence[str], count: int | None) -> list[Suggestion]:
    from monai_fss.metrics import farthest_first

    names = [case.name for case in _in_order(data)]
    chosen = [names.index(name) for name in labelled]
    others = distances.sum(1) / max(len(names) - 1, 1)
    return [
        Suggestion(
            rank,
            names[choice.index],
            FIRST if math.isnan(choice.nearest) else NEXT,
            float(others[choice.index]),
            choice.nearest,
            choice.mean,
            choice.largest,
        )
        for rank, choice in enumerate(farthest_first(distances, chosen, count), 1)
    ]


def _check(data: DatasetFolder, labelled: Sequence[str], count: int | None) -> None:
    problems = []
    missing = [name for name in labelled if name not in data.cases]
    if missing:
        problems.append(f"--labelled {','.join(missing)}: no such case. {data.root} has {', '.join(data.cases)}.")
    elif set(labelled) == set(data.cases):
        problems.append(f"--labelled: names all {len(data.cases)} case(s) of {data.root}. Nothing is left to suggest.")
    if count is not None and count < 1:
        problems.append(f"--count {count}: is less than 1. Ask for at least one scan, or leave it out.")
    if len(data.cases) < 2:
        problems.append(f"{data.root}: has {len(data.cases)} scan(s), so there is no choice. Give two or more.")
    if problems:
        raise UsageError(problems)


def _distances(cases: Sequence[Case], modality: str, cache: ContentCache | None) -> np.ndarray:
    return scan_distances({case.name: case.image for case in cases}, modality, cache)


def _signature(
    reference: MetaTensor, image: MetaTensor | None, case: Case, centre: Case, cache: ContentCache | None
) -> torch.Tensor:
    return registered(case.image, centre.image, lambda: known_signature(reference, image, cache))


def _part_of_distances(data: DatasetFolder, part: Part, file: Path) -> np.ndarray | None:
    """Distances of all scans, of which this part has registered its own; None where others have not done theirs."""
    from monai_fss.data import ContentCache
    from monai_fss.registration.scan_distances import pairwise_distances, thumbnail

    cache = ContentCache(file.with_name(f"{file.stem}.parts"))
    found = shared_signatures(
        _in_order(data),
        part,
        cache,
        lambda path: thumbnail(scaled_scan(path, data.modality)),
        lambda reference, image, case, centre: _signature(reference, image, case, centre, cache),
        data.modality,
    )
    return None if found is None else pairwise_distances(found)


def _format(rows: Sequence[Suggestion], labelled: Sequence[str]) -> str:
    head = ["rank", "case", "why", "to the others", "to the nearest chosen", "then on average", "then at worst"]
    known = f" beside {', '.join(labelled)}" if labelled else ""
    lines = [markdown_table(head, [row.cells() for row in rows]), ""]
    lines += ["Distances: 1 is an average pair of these scans. 'Then': from any scan to the nearest chosen one."]
    return "\n".join([*lines, f"Label {rows[0].case} first{known}."])
