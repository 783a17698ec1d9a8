# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss train`: run the training of a bundle on a data set."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_fss.apps.arguments import add_bundle_arguments, case_names
from monai_fss.apps.errors import UsageError
from monai_fss.apps.memory import reading_each_file_once
from monai_fss.apps.methods.ct_window import say_window, training_window
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import device_setting, parse_settings
from monai_fss.apps.train.checks import check_marks, check_schedule, check_stages
from monai_fss.apps.train.run_folder import check_run, note_finished, start_training
from monai_fss.data import (
    CaseSummary,
    DatasetFolder,
    InputWarning,
    Scan,
    ScanError,
    left_out_classes,
    training_items,
)
from monai_fss.engines.workflows import parser_values, quiet_monai

__all__ = ["add_arguments", "run", "train"]

_RESERVED = {
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
    settings = parse_settings(args.set, method.files, method.reserve(_RESERVED))
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


@reading_each_file_once()
def train(
    method: Method | str,
    data: str | Path,
    output: str | Path,
    *,
    cases: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """
    Train a bundle on a data set folder.

    CT is clipped to soft tissue (-125 to 275 HU) where dataset.json says that it is CT and no window was set.

    Args:
        method: what is trained, or its name, see :meth:`monai_fss.apps.methods.method.Method.parse`.
        data: data set folder; every scan and label of ``cases`` is checked first.
        output: folder for ``model.pt``, ``model_best.pt`` (where there was validation), ``checkpoints/``, ``cache/``
            and ``run.json``, the note of what the training was started with.
        cases: names of the cases to use. Default: all.
        settings: of the configuration, see :func:`monai_fss.apps.methods.settings.parse_settings`; the
            method's own values go before them.
        device: "cpu" or "cuda". Default: the bundle's own choice.
        resume: go on from the newest checkpoint, with the same settings.
        overwrite: remove a training that is in ``output``.

    Returns:
        steps made in all, those before a resume included.

    Raises:
        ScanError: with every problem of the data; nothing has been written then.
        UsageError: another input is refused; nothing has been written then.
    """
    method = Method.parse(method) if isinstance(method, str) else method
    if not method.is_trained:
        raise UsageError(f"--bundle {method.bundle}: is not trained. Segment with it at once: monai-fss segment.")
    root, folder = Path(data).absolute(), Path(output).absolute()
    known, used = method.known, {**(settings or {}), **method.values}
    overrides: dict[str, Any] = dict(device_setting(device))
    check_schedule(known, used)
    check_stages(known, used)
    _check_positions(known, used)
    leave_out = _leave_out(known, used)
    data_folder, summaries = _check_data(root, cases)
    if method.needs_support:
        _check_validation(summaries, known, used)
    else:
        check_marks(root, cases, {**known, **used})
    if leave_out:
        _say_runs(training_items(root, cases, leave_out, _shortest_run(known, used)))
    if 2 in ({**known, **used}.get("position_axes") or ()):
        _check_extent(root, summaries)
    window = training_window(data_folder.modality, known, used)
    if window:
        say_window()
    used |= window
    names = None if cases is None else list(cases)
    note = {**method.note(), "data": str(root), "cases": names, "settings": used}
    check_run(folder, note, resume=resume, overwrite=overwrite)
    start_training(folder, note, resume=resume)
    overrides |= {"bundle_root": method.folder, "dataset_dir": str(root), "output_dir": str(folder)}
    overrides |= {"resume": resume, "cases": names, **used}
    steps = _run_workflow(method.files, overrides)
    note_finished(folder, steps)
    return steps


def _run_workflow(files: Sequence[Path], overrides: Mapping[str, Any]) -> int:
    from monai.bundle import ConfigWorkflow

    quiet_monai()
    workflow = ConfigWorkflow(
        config_file=[str(file) for file in files],
        meta_file=str(files[0].parent / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        **parser_values(overrides),
    )
    workflow.initialize()
    workflow.run()
    steps = int(workflow.trainer.state.iteration)
    workflow.finalize()
    return steps


def _method(bundle: str, recipe: str | None) -> Method:
    """The method of --bundle and --recipe."""
    method = Method.parse(bundle, _RESERVED)
    if recipe is None:
        return method
    if method.recipe is not None:
        raise UsageError(f"--recipe {recipe}, --bundle {bundle}: name a recipe each. Leave one of them out.")
    if recipe not in method.recipes:
        known = ", ".join(method.recipes) or "none"
        raise UsageError(f"--recipe {recipe}: {method.bundle} has no such recipe. It has {known}.")
    return Method(method.bundle, recipe, method.values)


def _check_data(root: Path, cases: Sequence[str] | None) -> tuple[DatasetFolder, list[CaseSummary]]:
    """Check the images that are trained on, and their labels, which validation uses."""
    if cases is not None and not cases:
        raise UsageError("--cases: names no case. Write --cases case_01,case_02 or leave it out.")
    training_items(root, cases)  # refuses names that are not there
    data = DatasetFolder.read(root)
    chosen = {name: data.cases[name] for name in (data.cases if cases is None else cases)}
    return data, replace(data, cases=chosen).check()


def _check_validation(summaries: Sequence[CaseSummary], known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse an empty label where it is the support of the validation, see :func:`monai_fss.data.validation_items`."""
    labels = [summary.label for summary in summaries if summary.label is not None]
    merged = {**known, **settings}
    if merged.get("setting") == 2:
        return  # the support is the first scan that shows another class than those left out
    if merged.get("val_queries") and len(labels) > 1 and not labels[0].counts:
        raise ScanError(
            f"{labels[0].path}: has no labelled voxel, but as the first label it is the support of the validation. "
            "Label an organ in it, remove the file, or give --set val_queries=0."
        )


def _check_extent(root: Path, summaries: Sequence[CaseSummary]) -> None:
    """Warn where the position across slices cannot mean the same place in every scan."""
    extents = [_extent(summary.scan) for summary in summaries]
    if max(extents) > 2 * min(extents):
        warnings.warn(
            f"{root}: scans reach from {min(extents):.0f} to {max(extents):.0f} mm across slices, so their relative "
            "height says little. If they show different parts of the body, add "
            "--set position_axes=[0,1] position_weights=[0.35,0.3].",
            InputWarning,
            stacklevel=2,
        )


def _check_positions(known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse coordinates without a weight, and weights without a coordinate."""
    axes, weights = ({**known, **settings}.get(key) for key in ("position_axes", "position_weights"))
    if isinstance(axes, list) and isinstance(weights, list) and len(axes) != len(weights):
        raise UsageError(
            f"--set position_axes={axes}: are {len(axes)} axes for {len(weights)} position_weights={weights}. Set both."
        )


def _leave_out(known: Mapping[str, Any], settings: Mapping[str, Any]) -> list[int] | None:
    """The classes that setting 2 leaves out; refuse settings that do not go together."""
    merged = {**known, **settings}
    try:
        return left_out_classes(merged.get("setting", 1), merged.get("test_classes", ()))
    except ValueError as error:
        raise UsageError(f"--set {error}") from None


def _shortest_run(known: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Slices of the shortest run that the bundles train on: 3-D pseudo-labels need a neighbour, superpixels none."""
    return 1 if {**known, **settings}.get("self_supervision") == "superpixels" else 2


def _say_runs(items: Sequence[Mapping[str, Any]]) -> None:
    slices = sum(stop - first for first, stop in (item["slices"] for item in items))
    scans = len({item["image"] for item in items})
    print(f"setting 2: {slices} slices without a test class, in {len(items)} runs of {scans} scans")


def _extent(scan: Scan) -> float:
    """Length in mm across the slices that training sees, whatever the order of the stored axes."""
    import nibabel as nib

    from monai_fss.transforms import slice_axcodes

    last = slice_axcodes(scan.affine)[2]
    pair = next(pair for pair in ("LR", "PA", "IS") if last in pair)
    axis = next(axis for axis, code in enumerate(nib.orientations.aff2axcodes(scan.affine)) if code in pair)
    return scan.shape[axis] * scan.spacing[axis]
