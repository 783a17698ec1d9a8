# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment`: one labelled scan in, a folder of masks out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.arguments import add_bundle_arguments
from monai_fss.apps.errors import UsageError
from monai_fss.apps.memory import warn_memory
from monai_fss.apps.methods.ct_window import guessed_window
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import device_setting, parse_settings
from monai_fss.apps.segment.dicom import dicom_problems, write_dicom_masks
from monai_fss.apps.segment.folder import check_inputs_stay, depends_on, pending
from monai_fss.apps.segment.options import (
    check_labels,
    check_support_options,
    prior_setting,
    prnet_problems,
    prnet_setting,
)
from monai_fss.apps.versions import versions
from monai_fss.data import (
    ScanError,
    finish_run,
    label_names,
    list_scans,
    load_model,
    look_at_inputs,
    query_items,
    read_model,
    reading_once,
    remove_stale,
    start_run,
    write_json,
)
from monai_fss.engines.workflows import parser_values
from monai_fss.handlers.segment_report import read_quality

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from monai_fss.data.checks.inputs import Inputs

__all__ = ["add_arguments", "chosen_method", "label_values", "run", "segment", "support_slices"]

FORMATS = ("nifti", "dicom-seg", "both")
RESERVED = {
    "bundle_root": "--bundle",
    "dataset_dir": "--images",
    "output_dir": "--output",
    "model": "--model",
    "support_image": "--support-image",
    "support_label": "--support-label",
    "support_slices": "--support-slices",
    "labels": "--labels",
    "prior": "--prior",
    "prnet": "--prnet",
    "probabilities": "--probabilities",
    "quality": "--no-quality",
    "overlays": "--no-overlays",
    "device": "--device",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_bundle_arguments(
        parser, "inference.yaml", "largest_component=false", None, "the one that --model names; atlas without"
    )
    parser.add_argument("--model", help="model.pt of a training; the atlas needs none")
    parser.add_argument("--support-image", nargs="+", default=[], help="labelled scan(s); prnet needs none")
    parser.add_argument("--support-label", nargs="+", default=[], help="their label(s), in the same order")
    parser.add_argument("--prior", choices=("atlas",), help="with --model: also register the whole labelled scan")
    parser.add_argument(
        "--prnet",
        help="propagation.pt or model.pt of PRNet: add a column with the feature similarity of masks and label",
    )
    parser.add_argument("--images", required=True, help="folder of scans to segment, or one scan")
    parser.add_argument("--output", required=True, help="output folder for the masks")
    parser.add_argument("--labels", help="label values to segment, such as 1,4 (default: all labels of the support)")
    parser.add_argument(
        "--support-slices", help="labelled slices to use: middle (default), a number, or all; atlas: all"
    )
    parser.add_argument("--format", choices=FORMATS, default="nifti", help="mask file format (default: nifti)")
    parser.add_argument("--probabilities", action="store_true", help="also write probability maps")
    parser.add_argument("--no-quality", action="store_true", help="skip the label-free quality score")
    parser.add_argument("--no-overlays", action="store_true", help="skip the pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    labels = label_values(args.labels)
    method = chosen_method(args.bundle, args.model)
    settings = {**method.values, **parse_settings(args.set, [method.inference_file], method.reserve(RESERVED))}
    check_support_options(method, args.support_image, args.support_label, args.support_slices)
    settings |= _slices(method, args.support_slices) | {"probabilities": args.probabilities}
    settings |= prior_setting(method, args.prior) | prnet_setting(method, args.prnet)
    settings |= {"quality": not args.no_quality, "overlays": not args.no_overlays}
    settings |= device_setting(args.device)
    done = segment(
        method,
        args.model,
        args.support_image,
        args.support_label,
        args.images,
        args.output,
        labels=labels,
        overwrite=args.overwrite,
        settings=settings,
        mask_format=args.format,
    )
    print(f"{len(done)} scan(s) segmented, see {args.output}")
    table = Path(args.output) / "quality.csv"
    empty = [row for row in read_quality(table) if row["case"] in done and row["note"]]
    if empty:
        cases = len({row["case"] for row in empty})
        print(f"{len(empty)} organ(s) in {cases} scan(s) are empty: the notes in {table} say why")
    return 0


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
    ``overlays/<case>.png`` and ``report.json``. An interrupted run goes on with the scans that are not done.

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
    settings = {**_names(pairs[1]), **(settings or {})}
    trained = read_model(model)["settings"] if model else {}
    supported = method.needs_support
    inputs = look_at_inputs(*pairs, labels, images, supported)
    _refuse(inputs.problems + prnet_problems(settings.get("prnet")))
    if not model and "window" not in settings:
        settings |= guessed_window(inputs.supports[0])
    parser = inference_parser(method, trained, settings, model or method.bundle)
    check_labels(labels, parser, model, supported)
    queries = list_scans(images)
    _refuse(dicom_problems(queries) if mask_format != "nifti" else [])
    check_inputs_stay([*queries.values(), *map(Path, (*pairs[0], *pairs[1]))], Path(output), list(queries))
    run_note = depends_on(method.bundle, model, *pairs, labels, settings)
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


def chosen_method(bundle: str | None, model: str | None) -> Method:
    """The method that is named, or else the one that a model file says; the atlas where there is no model.

    Args:
        bundle: value of --bundle.
        model: value of --model.

    Raises:
        UsageError: a method that is trained has no model, or one that is not has one; the model is another bundle's, or
            does not say whose it is and no bundle is named.
        ScanError: the model file cannot be read.
    """
    named = None if bundle is None else Method.parse(bundle, RESERVED, inference=True)
    if model and named is not None and not named.is_trained:
        raise UsageError(
            f"--model {model}: {named.bundle} is not trained and takes none. Leave --model or --bundle out."
        )
    known = read_model(model)["bundle"] if model else "atlas"
    if named is None and known is None:
        raise UsageError(f"--model {model}: does not say of which bundle it is. Give --bundle too.")
    method = named or Method(known)
    if method.is_trained and not model:
        raise UsageError(
            f"--bundle {method.bundle}: needs a trained model. Give --model RUN_DIR/model.pt (see monai-fss train), or "
            "leave --bundle out to segment by registration, without training."
        )
    if model and known not in (None, method.bundle):
        raise UsageError(f"--model {model}: is of {known}, not of {method.bundle}. Leave --bundle out.")
    return method


def _slices(method: Method, text: str | None) -> dict[str, Any]:
    """The setting of --support-slices; registration uses whole labelled scans."""
    if not method.needs_support:
        return {}
    if method.is_trained:
        return {"support_slices": support_slices(text or "middle")}
    if text not in (None, "all"):
        raise UsageError(f"--support-slices {text}: {method.bundle} uses all slices of a labelled scan. Leave it out.")
    return {}


def support_slices(text: str) -> int | str:
    """The value of --support-slices: "middle", "all" or a number.

    Raises:
        UsageError: it is none of them.
    """
    if text in ("middle", "all"):
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--support-slices {text}: is not understood. Give middle, all, or a number of at least 1.")


def label_values(text: str | None, option: str = "--labels") -> list[int] | None:
    """The values of an option such as ``--labels 1,4``, or None.

    Raises:
        UsageError: it is no list of positive numbers, or names one twice.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"{option} {text}: is not a list of label values. Write them as 1,4.")
    values = [int(word) for word in words]
    if len(set(values)) < len(values):
        raise UsageError(f"{option} {text}: names a value twice. Name each once.")
    return values


def _names(support_label: Sequence[str]) -> dict[str, Any]:
    names = label_names(support_label)
    return {"names": names} if names else {}


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ScanError(problems)
