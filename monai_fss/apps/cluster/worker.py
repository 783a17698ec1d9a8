# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a worker does: one scan of a run, by the bundle's own evaluator, which it builds once."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.data import InputWarning, load_model
from monai_fss.engines import FailedScans
from monai_fss.engines.scan_by_scan import reason_of
from monai_fss.engines.workflows import parser_values, quiet_monai
from monai_fss.handlers.segment_report import SegmentReport

__all__ = ["Job", "Outcome", "segment_scan"]


@dataclass(frozen=True)
class Job:
    """
    What all scans of a run have in common; plain values, and paths that all machines know.

    Args:
        bundle: name of the method's bundle.
        model: model file, or None.
        trained: settings that the model brings.
        settings: of the user.
        given: of the run: labelled scans, labels, output folder; and ``items``, its scans, where it is not a worker's.
    """

    bundle: str
    model: str | None
    trained: Mapping[str, Any]
    settings: Mapping[str, Any]
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """
    What became of a scan.

    Args:
        rows: of the table; none where it failed.
        doubts: warnings about the scan.
        error: why it failed; "" where it did not.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    error: str = ""


class _Session:
    """The evaluator of a job, for one scan after another: labelled scans and networks are prepared once."""

    def __init__(self, job: Job, item: Mapping[str, Any]) -> None:
        quiet_monai()
        parser = inference_parser(Method(job.bundle), job.trained, job.settings, job.model or job.bundle)
        handlers = [one for one in parser["handlers"] if not str(one["_target_"]).endswith("ProgressBar")]
        parser.update({"handlers": handlers} | parser_values({**job.given, "items": [dict(item)]}))
        if job.model:
            load_model(job.model, parser.get_parsed_content("network_def"))
        self.evaluator = parser.get_parsed_content("evaluator")
        self.dataset = parser.get_parsed_content("dataset")
        for handler in parser.get_parsed_content("handlers"):
            if isinstance(handler, SegmentReport):
                handler.rows = self  # type: ignore[assignment]  # in place of the file, which one process alone writes
        self.rows: list[dict[str, str]] = []

    def append(self, case: str, rows: Iterable[dict[str, str]]) -> None:
        """As a table's."""
        self.rows += rows

    def __call__(self, item: Mapping[str, Any]) -> Outcome:
        """Segment a scan: mask and picture are written, its rows are returned."""
        self.rows = []
        self.dataset.data = [dict(item)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", InputWarning)
            try:
                self.evaluator.run()
            except FailedScans as failed:
                return Outcome(error=reason_of(next(iter(failed.errors.values()))))
        return Outcome(self.rows, [str(one.message) for one in caught])


_sessions: dict[str, _Session] = {}
_one_at_a_time = Lock()


def segment_scan(job: Job, item: Mapping[str, Any]) -> Outcome:
    """
    Segment a scan.

    Args:
        job: of the run. The session of another one before is let go.
        item: of :func:`monai_fss.data.query_items`.

    Returns:
        what became of it. What is wrong with the machine, and not with the scan, is named too: another worker may have
        more memory.
    """
    key = json.dumps(asdict(job), sort_keys=True)
    with _one_at_a_time:
        try:
            if key not in _sessions:
                _sessions.clear()
                _sessions[key] = _Session(job, item)
            return _sessions[key](item)
        except Exception as error:  # whatever it is, the scheduler's other tasks go on
            return Outcome(error=reason_of(error))
