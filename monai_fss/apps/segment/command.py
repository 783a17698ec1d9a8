# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment`: one labelled scan in, a folder of masks out."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import Any

from monai_fss.apps.arguments import add_bundle_arguments, label_values, support_slices
from monai_fss.apps.cluster.dask_run import check_address
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.method import PRIORS, Method
from monai_fss.apps.methods.settings import device_setting, parse_settings
from monai_fss.apps.parts.part import Part, add_part_arguments, given_part
from monai_fss.apps.segment.folder import REPORT, check_history, read_report
from monai_fss.apps.segment.formats import FORMATS
from monai_fss.apps.segment.learn import BUNDLE, learn
from monai_fss.apps.segment.options import cache_setting, check_support_options, prior_setting, prnet_setting
from monai_fss.apps.segment.pipeline import Segmented, segment
from monai_fss.data import read_model
from monai_fss.data.scan_table import read_rows
from monai_fss.handlers.segment_report import ALL_COLUMNS

__all__ = ["RESERVED", "add_arguments", "chosen_method", "run"]

RESERVED = {
    "bundle_root": "--bundle",
    "dataset_dir": "--images",
    "output_dir": "--output",
    "model": "--model",
    "support_image": "--support-image",
    "support_label": "--support-label",
    "displayable_configs": "--support-image and --support-label",
    "displayable_configs::support_image": "--support-image",
    "displayable_configs::support_label": "--support-label",
    "support_slices": "--support-slices",
    "labels": "--labels",
    "prior": "--prior",
    "prnet": "--prnet",
    "probabilities": "--probabilities",
    "cache_gb": "--cache-size",
    "quality": "--no-quality",
    "overlays": "--no-overlays",
    "device": "--device",
}
LEARN_RESERVED = RESERVED | {
    "cases": "--images",
    "support": "--support-image",
    "resume": "--learn",
    "val_queries": "--learn",
}
"""Those of a training that ``--learn`` says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_bundle_arguments(
        parser, "inference.yaml", "largest_component=false", None, "the one that --model names; atlas without"
    )
    parser.add_argument("--model", help="model.pt of a training; the atlas needs none")
    parser.add_argument("--support-image", nargs="+", default=[], help="labelled scan(s); prnet and unet_3d need none")
    parser.add_argument("--support-label", nargs="+", default=[], help="their label(s), in the same order")
    parser.add_argument(
        "--prior",
        choices=PRIORS,
        help="with --model: also register the whole labelled scan, or do not (default: as the bundle has it)",
    )
    parser.add_argument(
        "--prnet",
        help="propagation.pt or model.pt of PRNet: add a column with the feature similarity of masks and label",
    )
    parser.add_argument(
        "--learn",
        action="store_true",
        help="learn from the labelled scan and the folder of --images first (bundle self_training), then segment it: "
        "some minutes for each scan; an interrupted one goes on",
    )
    parser.add_argument("--images", required=True, help="folder of scans to segment, or one scan")
    parser.add_argument("--output", required=True, help="output folder for the masks")
    parser.add_argument("--labels", help="label values to segment, such as 1,4 (default: all labels of the support)")
    parser.add_argument(
        "--support-slices", help="labelled slices to use: middle (default), a number, or all; atlas: all"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        nargs="+",
        default=["nifti"],
        help="of masks: nifti (default, with tables of names and colours for ITK-SNAP and 3D Slicer), seg-nrrd (3D "
        "Slicer), dicom-seg (of DICOM series); both is nifti dicom-seg",
    )
    parser.add_argument("--bids", action="store_true", help="lay the masks out as a BIDS derivative")
    parser.add_argument("--probabilities", action="store_true", help="also write probability maps")
    parser.add_argument("--no-quality", action="store_true", help="skip the label-free quality score")
    parser.add_argument("--no-overlays", action="store_true", help="skip the pictures")
    add_part_arguments(parser)
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="do the scans on the workers of a Dask cluster, such as tcp://HOST:8786, or of local:N, N processes here "
        "(pip install 'monai-fss[cluster]')",
    )
    parser.add_argument(
        "--cache-size",
        metavar="SIZE",
        help="room for the registrations that are kept in OUTPUT/cache, such as 20GB (default); those used longest ago "
        "go first; 0: none are kept",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    labels, part = label_values(args.labels), given_part(args)
    if args.dask:
        check_address(args.dask)
    if args.learn:
        return _learn(args, labels, part)
    method = chosen_method(args.bundle, args.model)
    settings = {**method.values, **parse_settings(args.set, [method.inference_file], method.reserve(RESERVED))}
    check_support_options(method, args.support_image, args.support_label, args.support_slices)
    settings |= _slices(method, args.support_slices) | prnet_setting(method, args.prnet) | _asked(method, args)
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
        bids=args.bids,
        part=part,
        dask=args.dask,
    )
    print(f"{len(done.cases)} scan(s) segmented, see {args.output}")
    _report_empty(Path(args.output) / done.table, set(done.cases))
    if not part.whole:
        print(
            f"{part}: {'all parts are done and joined' if done.joined else 'the last one to finish joins the tables'}"
        )
    elif method.needs_support and not args.no_quality and len(done.cases) > 1:
        print(f"Which mask to correct first: monai-fss suggest {args.output}; then: monai-fss correct {args.output}")
    return _report_failed(done, args.debug)


def _learn(args: argparse.Namespace, labels: list[int] | None, part: Part) -> int:
    """Learn from the folder, then segment it by the model."""
    named = None if args.bundle is None else Method.parse(args.bundle, RESERVED, inference=True)
    if args.model or args.prnet or args.dask or not part.whole or (named and named.bundle != BUNDLE):
        raise UsageError(
            f"--learn: trains a model of {BUNDLE} in this process, and segments by it. Leave --model, --prnet, --dask, "
            "--num-parts and other bundles out; or train first (monai-fss train --bundle self_training)."
        )
    before = (read_report(Path(args.output) / REPORT).get("inputs") or {}).get("bundle", BUNDLE)
    if before != BUNDLE and not args.overwrite:  # said now, and not after the training
        raise UsageError(f"{args.output}: holds masks of {before}. Give another --output, or --overwrite.")
    check_history(Path(args.output), args.overwrite)
    method = Method(BUNDLE)
    files = [*method.files, method.inference_file]
    given = {**(named.values if named else {}), **parse_settings(args.set, files, method.reserve(LEARN_RESERVED))}
    taught = config_keys(method.files)
    model = learn(
        args.support_image,
        args.support_label,
        args.images,
        args.output,
        labels,
        {key: value for key, value in given.items() if key in taught},
        args.device,
    )
    settings = {key: value for key, value in given.items() if key not in taught}
    settings |= _asked(method, args)
    done = segment(
        method,
        model,
        [],
        [],
        args.images,
        args.output,
        labels=labels,
        overwrite=args.overwrite,
        settings=settings,
        mask_format=args.format,
        bids=args.bids,
    )
    print(f"{len(done.cases)} scan(s) segmented, see {args.output}; of others: monai-fss segment --model {model}")
    _report_empty(Path(args.output) / done.table, set(done.cases))
    return _report_failed(done, args.debug)


def _asked(method: Method, args: argparse.Namespace) -> dict[str, Any]:
    """Settings of the options that say what is written, and how."""
    wanted = {"probabilities": args.probabilities, "quality": not args.no_quality, "overlays": not args.no_overlays}
    prior, cache = prior_setting(method, args.prior), cache_setting(method, args.cache_size)
    return wanted | prior | cache | device_setting(args.device)


def _report_empty(table: Path, cases: set[str]) -> None:
    """Say how many organs were not found in the scans done now."""
    noted = (row for row in read_rows(table, ALL_COLUMNS) if row["case"] in cases and row["note"])
    empty = [row["case"] for row in noted if float(row["volume_ml"]) == 0]
    if empty:
        print(f"{len(empty)} organ(s) in {len(set(empty))} scan(s) are empty: the notes in {table} say why")


def _report_failed(done: Segmented, debug: bool) -> int:
    """Say which scans could not be segmented, a line each; return the exit code."""
    if not done.failed:
        return 0
    print(f"{len(done.failed)} scan(s) could not be segmented:", file=sys.stderr)
    for case, reason in done.failed.items():
        if debug and case in done.errors:
            traceback.print_exception(done.errors[case])
        print(reason, file=sys.stderr)
    return 1


def chosen_method(bundle: str | None, model: str | None) -> Method:
    """The method that is named, or else the one that a model file says; the atlas where there is no model.

    Args:
        bundle: value of --bundle.
        model: value of --model.

    Raises:
        UsageError: a method that is trained has no model, or one that is not has one; the model does not
            say whose it is and no bundle is named.
        ScanError: the model file cannot be read.
    """
    named = None if bundle is None else Method.parse(bundle, RESERVED, inference=True)
    if model and named is not None and not named.is_trained:
        raise UsageError(
            f"--model {model}: {named.bundle} is not trained and takes none. Leave --model or --bundle out."
        )
    known = read_model(model)["bundle"] if model and named is None else "atlas"
    if known is None:
        raise UsageError(f"--model {model}: does not say of which bundle it is. Give --bundle too.")
    method = named or Method(known)
    if method.is_trained and not model:
        raise UsageError(
            f"--bundle {method.bundle}: needs a trained model. Give --model RUN_DIR/model.pt (see monai-fss train), or "
            "leave --bundle out to segment by registration, without training."
        )
    return method


def _slices(method: Method, text: str | None) -> dict[str, Any]:
    """The setting of --support-slices; registration uses whole labelled scans."""
    if not method.needs_support:
        return {}
    if not method.registers:
        return {"support_slices": support_slices(text or "middle")}
    if text not in (None, "all"):
        raise UsageError(f"--support-slices {text}: {method.bundle} uses all slices of a labelled scan. Leave it out.")
    return {}
