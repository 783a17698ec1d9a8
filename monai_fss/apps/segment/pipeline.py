# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A folder of scans, segmented by one or several labelled ones."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.cluster.dask_run import on_cluster
from monai_fss.apps.cluster.worker import Job
from monai_fss.apps.errors import UsageError
from monai_fss.apps.memory import warn_memory
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.ct_window import guessed_window
from monai_fss.apps.methods.inference import inference_parser, trained_settings
from monai_fss.apps.methods.method import Method
from monai_fss.apps.parts.part import WHOLE, Part
from monai_fss.apps.segment.folder import REPORT, check_inputs_stay, depends_on, pending
from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.apps.segment.mask_scores import COMPARISON, score_masks
from monai_fss.apps.segment.options import check_labels, prnet_problems
from monai_fss.apps.segment.parts import begin, check_others, join_if_done, part_note, pending_part
from monai_fss.apps.versions import versions
from monai_fss.data import (
    InputWarning,
    ScanError,
    finish_run,
    label_names,
    load_model,
    look_at_inputs,
    modality_of,
    query_items,
    reading_once,
    start_run,
    write_json,
)
from monai_fss.data.checks.queries import LABEL_MAP
from monai_fss.data.files.output import RUN_FILE
from monai_fss.data.scan_table import ScanTable
from monai_fss.engines import FailedScans
from monai_fss.engines.scan_by_scan import reason_of
from monai_fss.engines.setting_checks import setting_problems
from monai_fss.engines.workflows import parser_values
from monai_fss.handlers.segment_report import ALL_COLUMNS, QUALITY, QUALITY_COLUMNS, forget_scans

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from monai_fss.data.checks.inputs import Inputs

__all__ = ["Segmented", "segment"]


@dataclass
class Segmented:
    """
    What a run has done.

    Args:
        cases: names of the scans segmented now.
        failed: name of each scan that could not be, to the reason.
        errors: name to the exception, of those that failed on the way.
        table: name of the table that they are in.
        joined: whether the scans of all parts are done and in one table.
        scored: name to the quality of each label value, of the masks that were to be scored.
    """

    cases: list[str]
    failed: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    table: str = QUALITY
    joined: bool = True
    scored: dict[str, dict[int, float]] = field(default_factory=dict)


@reading_once(0)  # scan after scan: none is kept
def segment(
    method: Method | str,
    model: str | Path | None,
    support_image: Sequence[str | Path],
    support_label: Sequence[str | Path],
    images: str | Path,
    output: str | Path,
    labels: Sequence[int] | None = None,
    overwrite: bool = False,
    settings: dict[str, Any] | None = None,
    mask_format: str | Sequence[str] = "nifti",
    bids: bool = False,
    cases: Collection[str] | None = None,
    score: Mapping[str, Path] | None = None,
    part: Part = WHOLE,
    dask: str | None = None,
) -> Segmented:
    """Segment a folder of scans by one or several labelled ones.

    Writes ``<case>.nii.gz`` in each scan's own grid with the support's label values, ``quality.csv``,
    ``overlays/<case>.png`` and ``report.json``. An interrupted run goes on with the scans that are not done, a finished
    one with those that are new, and both with those that have changed since. A scan that cannot be used, or fails on
    the way, does not stop the others: the report names it under ``failed``. Label maps among the scans are passed over
    (``passed_over``).

    Args:
        method: what segments, or the name of its bundle.
        model: model file; it brings the settings that it was trained with. None for a method that is not trained.
        support_image, support_label: labelled scans and their labels, in the same order; none where the model has
            learnt what to segment.
        images: folder of scans, or one scan.
        output: folder for the results.
        labels: label values wanted. Default: all of the support.
        overwrite: replace results that exist.
        settings: of the bundle's ``configs/inference.yaml``. ``names`` (label value to name, for the report) are those
            of the support's dataset.json unless they are given. ``prnet`` is a file of PRNet's networks, by whose
            features every mask is compared with the labelled one (a column more in ``quality.csv``).
        mask_format: one or several, see :class:`monai_fss.apps.segment.formats.MaskFiles`.
        bids: lay the masks out as a BIDS derivative.
        cases: names of those of the scans that are segmented. Default: all.
        score: name of a scan to a mask of it, such as an earlier one, whose quality is found out too, by the same
            labelled scans; the report has it under ``scored``, and that of the new masks under ``scored_new`` where it
            is not their quality.
        part: of the sorted list of scans, those that this process does; others do the rest, see :mod:`.parts`.
            Default: all.
        dask: cluster that does it, see :mod:`monai_fss.apps.cluster.dask_run`. Default: this process.

    Returns:
        which scans were segmented now, and which could not be.

    Raises:
        ScanError: with every problem of the labelled scans, or of all scans where none can be used; nothing has been
            written then.

    Warns:
        InputWarning: a scan is passed over, as it looks like a label map.
    """
    start = time.time()
    method = Method(method) if isinstance(method, str) else method
    pairs = [str(f) for f in support_image], [str(f) for f in support_label]
    _check_asked(method, settings or {}, score, dask)
    settings = {**_names(pairs[1]), **(settings or {})}
    trained = trained_settings(model, method) if model else {}
    supported = method.needs_support
    inputs = look_at_inputs(*pairs, labels, images, supported, cases, part.as_slice)
    refused = inputs.problems + prnet_problems(settings.get("prnet"))
    _refuse(inputs.all_problems + refused[len(inputs.problems) :] if refused else [])
    if not model and "window" not in settings:
        settings |= guessed_window(inputs.supports[0], modality_of(pairs[1]))
    parser = inference_parser(method, trained, settings, model or method.bundle)
    check_labels(labels, parser, model, supported)
    files = MaskFiles(mask_format, bids, inputs.listed)
    queries, unusable = _usable(inputs, files, part)
    own, output = dict(part.of(list(inputs.listed.items()))), Path(output)
    check_inputs_stay([*own.values(), *map(Path, (*pairs[0], *pairs[1]))], output, files, own)
    run_note = depends_on(method.bundle, model, *pairs, labels, settings, queries)
    wanted = parser["quality"], parser["overlays"]
    ways = len(inputs.values if supported else parser["values"])
    check_others(output, part, overwrite)
    places = {case: files.of(case)[0] for case in queries}
    if part.whole:
        todo = pending(output, places, overwrite, run_note, *wanted, bool(unusable), ways)
    else:
        todo = pending_part(output, part, places, overwrite, run_note, parser["overlays"], ways)
    _warn_memory(method, parser, inputs, todo, ways)
    given = _given(parser, pairs if supported else None, labels, {case: queries[case] for case in todo}, output, part)
    job = Job(method.bundle, None if model is None else str(model), trained, settings, given)
    with on_cluster(dask, job) if dask and todo else _here(parser, job) as run:
        begin(output, part, overwrite)
        start_run(output, run_note, [file for case in todo for file in files.all_of(case)], part.file(RUN_FILE))
        table = ScanTable(output / part.file(QUALITY), ALL_COLUMNS if settings.get("prnet") else QUALITY_COLUMNS)
        table.forget(todo)
        errors = run(table) if todo else {}
    lost = [*errors, *(unusable if overwrite else ())]
    forget_scans(output, lost, [file for case in lost for file in files.all_of(case)], table.path.name)
    table.arrange()
    done = [case for case in todo if case not in errors]
    written = {case: queries[case] for case in queries if case not in errors}
    files.write(output, written, done, method.bundle, table=table.path.name)
    scored = _compared(
        parser, {case: (written[case], mask) for case, mask in (score or {}).items() if case in written}, output, files
    )
    reasons = {case: " ".join(problems) for case, problems in unusable.items()}
    reasons |= {case: f"{queries[case]}: {reason_of(error)}" for case, error in errors.items()}
    report: dict[str, Any] = part_note(part, inputs.listed) | {
        "inputs": {"images": str(images), "cases": list(queries), **run_note},
        "format": [*files.formats, *(["bids"] if bids else [])],
        "versions": versions(),
        "device": str(parser.get_parsed_content("device")),
        "segmented_now": done,
        "failed": reasons,
        "passed_over": [str(scan.path) for scan in inputs.label_maps if scan.path not in queries.values()],
        "seconds": round(time.time() - start, 2),
        "settings": {**trained, **settings},
        **scored,
    }
    write_json(output / part.file(REPORT), report)
    finish_run(output, part.file(RUN_FILE))
    joined = part.whole or join_if_done(output, part.count)
    return Segmented(
        done, reasons, dict(errors), QUALITY if joined else table.path.name, joined, scored.get("scored", {})
    )


def _compared(
    parser: Any, old: Mapping[str, tuple[Path, Path]], output: Path, files: MaskFiles
) -> dict[str, dict[str, dict[int, float]]]:
    """Scores of earlier masks, and in the same way of those that were made, where that is not their quality."""
    new = {case: (scan, output / files.of(case)[0]) for case, (scan, _) in old.items() if COMPARISON in parser}
    scores = {"scored": score_masks(parser, old), "scored_new": score_masks(parser, new)}
    return {key: own for key, own in scores.items() if own}


def _check_asked(method: Method, settings: dict[str, Any], score: Mapping[str, Path] | None, dask: str | None) -> None:
    problems = setting_problems(settings, config_keys([method.inference_file]))
    _refuse([f"--set {problem}" for problem in problems])
    if score and dask:
        raise UsageError("--dask: given masks are scored by this process alone. Leave it out.")


def _given(
    parser: ConfigParser,
    pairs: tuple[list[str], list[str]] | None,
    labels: Sequence[int] | None,
    scans: Mapping[str, Path],
    output: Path,
    part: Part,
) -> dict[str, Any]:
    """What is set in the configuration of one run: scans, labelled scans, and where what is written."""
    targets = [handler["_target_"] for handler in parser["handlers"]]
    report = next(place for place, target in enumerate(targets) if target.endswith("SegmentReport"))
    given: dict[str, Any] = {"labels": labels, "items": query_items(scans), "output_dir": str(output)}
    given[f"handlers::{report}::table"] = part.file(QUALITY)
    return given | ({"support_image": pairs[0], "support_label": pairs[1]} if pairs else {})


def _usable(inputs: Inputs, files: MaskFiles, part: Part) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """The scans that can be segmented, and why others cannot.

    Raises:
        ScanError: none can; of a part, others may.
        UsageError: a part is to be laid out as a BIDS derivative.
    """
    if files.bids and not part.whole:
        raise UsageError("--bids: its tables are of all scans. Leave --num-parts out.")
    queries = {case: scan.path for case, scan in inputs.queries.items()}
    unusable = inputs.unusable | files.problems(queries)
    queries = {case: path for case, path in queries.items() if case not in unusable}
    maps = [f"{scan.path}: {LABEL_MAP}" for scan in inputs.label_maps if scan.path not in queries.values()]
    if not queries and part.whole:
        problems = [problem for own in unusable.values() for problem in own]
        _refuse([*dict.fromkeys(problems), *(f"{text}. Give the folder of the scans." for text in maps)])
    for text in maps:
        warnings.warn(f"{text}. It is passed over; move it out of the scans' folder.", InputWarning, stacklevel=3)
    return queries, unusable


@contextmanager
def _here(parser: ConfigParser, job: Job) -> Iterator[Callable[[ScanTable], Mapping[str, Exception]]]:
    """What segments the scans in this process; it returns those that failed, and how."""
    # From here on nothing is set: the parser would build everything anew, and the network without its weights.
    parser.update(parser_values(job.given))
    if job.model:
        load_model(job.model, parser.get_parsed_content("network_def"))

    def run(_: ScanTable) -> Mapping[str, Exception]:
        try:
            parser.get_parsed_content("evaluator").run()
        except FailedScans as failed:
            return failed.errors
        return {}

    yield run


def _warn_memory(method: Method, parser: ConfigParser, inputs: Inputs, todo: Sequence[str], ways: int) -> None:
    registers = method.registers or parser.get("prior") is not None
    dims = 2 if inputs.supports else 3
    scans = [inputs.queries[case] for case in todo]
    warn_memory(scans, inputs.supports, ways, parser.get("pixdim"), registers, dims)


def _names(support_label: Sequence[str]) -> dict[str, Any]:
    names = label_names(support_label)
    return {"names": names} if names else {}


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ScanError(problems)
