# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a training refuses before anything is written: bad scans and scribbles, settings that do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.data import (
    CaseSummary,
    DatasetFolder,
    InputWarning,
    Scan,
    ScanError,
    check_propagation,
    labelled_organs,
    learnt_scans,
    left_out_classes,
    one_labelled_scan,
    training_items,
)
from monai_fss.engines.setting_checks import joint_problems, schedule_problems, setting_problems

__all__ = [
    "check_data",
    "check_extent",
    "check_labelled",
    "check_learnt",
    "check_marks",
    "check_organs",
    "check_schedule",
    "check_stages",
    "check_validation",
    "check_values",
    "classes_left_out",
    "of_labels",
    "say_runs",
    "shortest_run",
]


def check_marks(root: Path, cases: Sequence[str] | None, merged: Mapping[str, Any]) -> None:
    """Look at the scribbles before anything is removed or written; the bundle does so too."""
    keys = ("support", "scribbles", "background")
    support, scribbles, background = (merged.get(key) for key in keys)
    check_propagation(root, support or "", scribbles or "", background, cases, merged.get("labels"))


def check_labelled(root: Path, cases: Sequence[str] | None, merged: Mapping[str, Any]) -> None:
    """Look at the one labelled scan before anything is removed or written, and say which it is.

    Raises:
        ScanError: see :func:`monai_fss.data.one_labelled_scan`.
    """
    keys = ("support", "labels", "val_queries")
    learnt = one_labelled_scan(root, cases, **{key: merged[key] for key in keys if key in merged})
    print(f"learns from {learnt}", flush=True)


def check_learnt(root: Path, cases: Sequence[str] | None, merged: Mapping[str, Any]) -> None:
    """Look at the labels that are learnt from before anything is removed or written, and say which they are.

    Raises:
        ScanError: see :func:`monai_fss.data.learnt_scans`.
        UsageError: a training on pairs has fewer than two scans.
    """
    keys = ("label_dir", "labels", "ignore", "fraction", "scans", "val_queries", "seed")
    learnt = learnt_scans(root, cases, **{key: merged[key] for key in keys if key in merged})
    if "anchors" in merged and len(learnt.training) < 2:
        raise UsageError(
            f"fraction {merged['fraction']}: leaves {len(learnt.training)} labelled scan to learn from, and a target "
            "and an anchor are two. Label more, or raise fraction or lower val_queries."
        )
    without = ", ".join(map(str, merged.get("test_classes") or ())) if merged.get("setting") == 2 else ""
    print(f"learns from {learnt}{f'; without labels {without}' if without else ''}", flush=True)


def check_stages(known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """:func:`check_schedule` for the stages before, such as PRNet's two networks."""
    merged = {**known, **settings}
    epoch = merged.get("pretrain_steps_per_epoch")
    if not isinstance(epoch, int) or epoch < 1:
        return
    for level in ("coarse", "fine"):
        if merged.get(level, 0) is None:  # one network alone
            if parts := [key for key in settings if key.startswith(f"{level}::")]:
                raise UsageError(f"--set {parts[0]}: is of a network that {level}=null leaves out. Give one of them.")
            continue
        steps = settings.get(f"{level}::steps", (merged.get(level) or {}).get("steps"))
        if not isinstance(steps, int) or steps < 1 or steps % epoch:
            raise UsageError(
                f"--set {level}::steps={steps}: is not a multiple of pretrain_steps_per_epoch={epoch}. Set both."
            )


def check_schedule(known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a number of steps that is not whole epochs: the rest would be left out without a word.

    Args:
        known: the bundle's ``steps`` and ``steps_per_epoch``.
        settings: of the user, which go before.

    Raises:
        UsageError: with numbers that would do.
    """
    _refuse(schedule_problems({**known, **settings}))


def check_data(root: Path, cases: Sequence[str] | None) -> tuple[DatasetFolder, list[CaseSummary]]:
    """Check the images that are trained on, and their labels, which validation uses."""
    if cases is not None and not cases:
        raise UsageError("--cases: names no case. Write --cases case_01,case_02 or leave it out.")
    training_items(root, cases)  # refuses names that are not there
    data = DatasetFolder.read(root)
    chosen = {name: data.cases[name] for name in (data.cases if cases is None else cases)}
    return data, replace(data, cases=chosen).check()


def check_validation(summaries: Sequence[CaseSummary], known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
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


def check_extent(root: Path, summaries: Sequence[CaseSummary], known: Collection[str]) -> None:
    """Warn where the position across slices cannot mean the same place in every scan.

    Args:
        root: of the data set.
        summaries: of the scans.
        known: settings of the method.
    """
    extents = [_extent(summary.scan) for summary in summaries]
    if max(extents) > 2 * min(extents):
        warnings.warn(
            f"{root}: scans reach from {min(extents):.0f} to {max(extents):.0f} mm across slices, so their relative "
            "height says little. If they show different parts of the body, add --set position_axes=[0,1]"
            f"{' position_weights=[0.35,0.3]' if 'position_weights' in known else ''}.",
            InputWarning,
            stacklevel=2,
        )


def check_values(known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse settings of the user that cannot be right, alone or together with the others.

    Args:
        known: every setting of the configuration.
        settings: of the user, which go before.

    Raises:
        UsageError: with every problem.
    """
    parts = {key for key in known if any(key.startswith(f"{name}::") for name in settings)}  # of what is replaced whole
    kept = {key: value for key, value in known.items() if key not in parts}
    _refuse(setting_problems(settings, known) or joint_problems({**kept, **settings}))


def classes_left_out(known: Mapping[str, Any], settings: Mapping[str, Any]) -> list[int] | None:
    """The classes that setting 2 leaves out; refuse settings that do not go together."""
    merged = {**known, **settings}
    try:
        return left_out_classes(merged.get("setting", 1), merged.get("test_classes", ()), of_labels(merged))
    except ValueError as error:
        raise UsageError(f"--set {error}") from None


def shortest_run(known: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Slices of the shortest run that the bundles train on: 3-D pseudo-labels need a neighbour, superpixels and labels
    none."""
    merged = {**known, **settings}
    return 1 if of_labels(merged) or merged.get("self_supervision") == "superpixels" else 2


def of_labels(merged: Mapping[str, Any]) -> bool:
    """Whether a few-shot network is trained by labelled organs, see :class:`monai_fss.data.LabelledEpisodes`."""
    return bool(merged.get("episodes") == "labels")


def check_organs(root: Path, cases: Sequence[str] | None, merged: Mapping[str, Any]) -> None:
    """Look at the organs that episodes are of before anything is removed or written, and say which they are.

    Raises:
        ScanError: see :func:`monai_fss.data.labelled_organs`.
    """
    unseen = list(merged.get("test_classes") or ())
    organs = labelled_organs(root, cases, unseen)
    scans = len({name for names in organs.values() for name in names})
    without = f"; without labels {', '.join(map(str, unseen))}" if unseen else ""
    print(f"episodes of labels {', '.join(map(str, organs))} of {scans} labelled scans{without}", flush=True)


def say_runs(items: Sequence[Mapping[str, Any]]) -> None:
    """Print how many slices of how many scans setting 2 leaves."""
    slices = sum(stop - first for first, stop in (item["slices"] for item in items))
    scans = len({item["image"] for item in items})
    print(f"setting 2: {slices} slices without a test class, in {len(items)} runs of {scans} scans")


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise UsageError(f"--set {problem}" for problem in problems)


def _extent(scan: Scan) -> float:
    """Length in mm across the slices that training sees, whatever the order of the stored axes."""
    import nibabel as nib

    from monai_fss.transforms import slice_axcodes

    last = slice_axcodes(scan.affine)[2]
    pair = next(pair for pair in ("LR", "PA", "IS") if last in pair)
    axis = next(axis for axis, code in enumerate(nib.orientations.aff2axcodes(scan.affine)) if code in pair)
    return scan.shape[axis] * scan.spacing[axis]
