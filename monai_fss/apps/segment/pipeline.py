# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A folder of scans, segmented by one or several labelled ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.memory import warn_memory
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.ct_window import guessed_window
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.apps.segment.dicom import dicom_problems, write_dicom_masks
from monai_fss.apps.segment.folder import check_inputs_stay, depends_on, pending
from monai_fss.apps.segment.options import check_labels, prnet_problems
from monai_fss.apps.versions import versions
from monai_fss.data import (
    ScanError,
    finish_run,
    label_names,
    list_scans,
    load_model,
    look_at_inputs,
    modality_of,
    query_items,
    read_model,
    reading_once,
    remove_stale,
    start_run,
    write_json,
)
from monai_fss.engines.setting_checks import setting_problems
from monai_fss.engines.workflows import parser_values

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from monai_fss.data.checks.inputs import Inputs

__all__ = ["segment"]


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
    mask_format: str = "nifti",
) -> list[str]:
    """Segment a folder of scans by one or several labelled ones.

    Writes ``<case>.nii.gz`` in each scan's own grid with the support's label values, ``quality.csv``,
    ``overlays/<case>.png`` and ``report.json``. An interrupted run goes on with the scans that are not done, or
    have changed since.

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
        mask_format: "nifti"; "dicom-seg" (``<case>.dcm``, scans must be DICOM series) or "both".

    Returns:
        names of the cases segmented now.

    Raises:
        ScanError: with every problem of every input; nothing has been written then.
    """
    start = time.time()
    method = Method(method) if isinstance(method, str) else method
    pairs = [str(f) for f in support_image], [str(f) for f in support_label]
    _refuse([f"--set {problem}" for problem in setting_problems(settings or {}, config_keys([method.inference_file]))])
    settings = {**_names(pairs[1]), **(settings or {})}
    trained = read_model(model)["settings"] if model else {}
    supported = method.needs_support
    inputs = look_at_inputs(*pairs, labels, images, supported)
    _refuse(inputs.problems + prnet_problems(settings.get("prnet")))
    if not model and "window" not in settings:
        settings |= guessed_window(inputs.supports[0], modality_of(pairs[1]))
    parser = inference_parser(method, trained, settings, model or method.bundle)
    check_labels(labels, parser, model, supported)
    queries = list_scans(images)
    _refuse(dicom_problems(queries) if mask_format != "nifti" else [])
    check_inputs_stay([*queries.values(), *map(Path, (*pairs[0], *pairs[1]))], Path(output), list(queries))
    run_note = depends_on(method.bundle, model, *pairs, labels, settings, queries)
    todo = pending(Path(output), list(queries), overwrite, run_note, parser["quality"], parser["overlays"])
    _warn_memory(method, parser, inputs, todo)
    given: dict[str, Any] = {"support_image": pairs[0], "support_label": pairs[1]} if supported else {}
    given["labels"] = labels
    given["items"] = query_items({case: queries[case] for case in todo})
    given["output_dir"] = output
    # From here on nothing is set: the parser would build everything anew, and the network without its weights.
    parser.update(parser_values(given))
    if model:
        load_model(model, parser.get_parsed_content("network_def"))
    remove_stale(output)
    endings = ("nii.gz",) if mask_format == "nifti" else ("nii.gz", "dcm")
    start_run(output, run_note, [f"{case}.{ending}" for case in todo for ending in endings])
    if todo:
        parser.get_parsed_content("evaluator").run()
    if mask_format != "nifti":
        write_dicom_masks(output, queries, again=todo, algorithm=method.bundle, keep_nifti=mask_format == "both")
    report: dict[str, Any] = {
        "inputs": {"images": str(images), "cases": list(queries), **run_note},
        "versions": versions(),
        "device": str(parser.get_parsed_content("device")),
        "segmented_now": todo,
        "seconds": round(time.time() - start, 2),
        "settings": {**trained, **settings},
    }
    write_json(Path(output) / "report.json", report)
    finish_run(output)
    return todo


def _warn_memory(method: Method, parser: ConfigParser, inputs: Inputs, todo: Sequence[str]) -> None:
    registers = not method.is_trained or parser.get("prior") is not None
    dims = 2 if inputs.supports else 3
    scans = [inputs.queries[case] for case in todo]
    ways = len(inputs.values if method.needs_support else parser["values"])
    warn_memory(scans, inputs.supports, ways, parser.get("pixdim"), registers, dims)


def _names(support_label: Sequence[str]) -> dict[str, Any]:
    names = label_names(support_label)
    return {"names": names} if names else {}


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ScanError(problems)
