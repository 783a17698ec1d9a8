# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The folder of a training: what it was started with, whether it may go on, and what is removed before a new one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.train.contents import CONTENTS, HARMLESS, check_contents, contents_known, warn_unknown_contents
from monai_fss.apps.train.files import FILE_KEYS, check_files, warn_unknown_files
from monai_fss.apps.versions import versions
from monai_fss.data import InputWarning, check_output, remove_stale, write_json

__all__ = ["RUN_JSON", "check_run", "known_contents", "note_finished", "start_training"]

RUN_JSON = "run.json"
_MODELS = ("model.pt", "model_best.pt")
_ADVICE = "Give another --output, or --overwrite to train anew."
# What a training writes and a new one in the same folder must not find. The cache stays: it belongs to the scans.
_OWN = (
    *_MODELS,
    "checkpoints/*.pt",
    "checkpoints/best/*.pt",
    "tensorboard/events.out.*",
    "corrected/*.nii.gz",
    RUN_JSON,
)


def check_run(folder: Path, run: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False) -> None:
    """
    Decide whether a training may be started, or go on, in a folder; nothing is written.

    Args:
        folder: of the training; it need not exist.
        run: what the weights depend on (bundle, data, settings, ..., and
            :meth:`monai_fss.apps.methods.method.Method.note`; what the scans held, see
            :func:`monai_fss.apps.train.contents.training_contents`), as JSON values.
        resume: go on from the newest checkpoint.
        overwrite: start anew, whatever is there.

    Raises:
        ScanError: the folder cannot be written to.
        UsageError: a training is there, and neither was asked for; or it cannot be resumed, because there is no
            checkpoint, it is finished, or it was started with something else, or by files or scans that have changed
            since. Settings that cannot change the weights (:data:`monai_fss.apps.train.contents.HARMLESS`) may differ.

    Warns:
        InputWarning: a training goes on under other versions of the libraries, or its note does not say what the files
            of its bundle, or the scans, held.
    """
    check_output(folder, [])
    if resume and overwrite:
        raise UsageError("--resume, --overwrite: contradict each other. Give one of them.")
    if resume:
        _check_resume(folder, json.loads(json.dumps(run)))
    elif not overwrite:
        _check_empty(folder)


def start_training(folder: Path, run: Mapping[str, Any], *, resume: bool = False) -> None:
    """
    Leave ``run.json`` in the folder; before a new training, remove the files of an old one.

    Args:
        folder: of the training; made when missing.
        run: see :func:`check_run`, which must have passed.
        resume: the training goes on: nothing is removed, and the note stays as it is.
    """
    remove_stale(folder)
    if resume:
        return
    for file in [file for pattern in _OWN for file in folder.glob(pattern)]:
        file.unlink()
    write_json(folder / RUN_JSON, {**run, "versions": versions(), "finished": False})


def note_finished(folder: Path, steps: int) -> None:
    """
    Note in ``run.json`` that the training is done: to resume it would begin it again.

    Args:
        folder: of the training.
        steps: how many it has made in all.
    """
    write_json(folder / RUN_JSON, {**_read(folder), "finished": True, "steps": steps})


def known_contents(folder: Path) -> dict[str, Any] | None:
    """What the scans of the training in a folder held, by its note; None where there is none that says so."""
    try:
        known = _read(folder).get(CONTENTS) if (folder / RUN_JSON).is_file() else None
    except UsageError:  # of a damaged note: refused where it matters
        return None
    return known if isinstance(known, dict) else None


def _check_empty(folder: Path) -> None:
    models = [name for name in _MODELS if (folder / name).exists()]
    checkpoints = len(_checkpoints(folder))
    if models or checkpoints:
        found = ", ".join(models + ([f"{checkpoints} checkpoint(s)"] if checkpoints else []))
        raise UsageError(
            f"{folder}: holds a training already ({found}). Give --resume to go on with it, --overwrite to remove it "
            "and start anew, or another --output."
        )


def _check_resume(folder: Path, run: dict[str, Any]) -> None:
    if not (folder / RUN_JSON).is_file() or not _checkpoints(folder):
        raise UsageError(f"{folder}: holds no checkpoint to resume from. Start the training without --resume.")
    before = _read(folder)
    if before.get("finished"):
        raise UsageError(
            f"{folder}: the training is finished ({before.get('steps')} steps). Use its model.pt, or give --overwrite "
            "to train anew."
        )
    differences = list(_differences(before, run))
    if differences:
        raise UsageError(
            f"{folder}: the training was started with other settings: {'; '.join(differences)}. Resume with those, "
            "or give another --output."
        )
    check_files(folder, before, run, _ADVICE)
    check_contents(folder, before, run, _ADVICE)
    warn_unknown_files(folder, before, run)
    if CONTENTS in run:
        warn_unknown_contents(folder, before)
    _warn_versions(folder, before)


def _warn_versions(folder: Path, before: Mapping[str, Any]) -> None:
    now = versions()
    other = [f"{name} {old}, now {now.get(name)}" for name, old in before["versions"].items() if old != now.get(name)]
    if other:
        text = f"{folder}: was started with {', '.join(other)}. It goes on, but not bit for bit as it would have."
        warnings.warn(text, InputWarning, stacklevel=3)


def _differences(before: dict[str, Any], run: dict[str, Any]) -> list[str]:
    # Where it is known what files held, their places do not count.
    placed = {"data", *contents_known(before, run)} if CONTENTS in before and CONTENTS in run else set()
    own = [key for key in run if key not in ("settings", CONTENTS, *FILE_KEYS, *placed)]
    pairs = [(key, before.get(key), run[key]) for key in own]
    old, new = before.get("settings", {}), run["settings"]
    keys = sorted({*old, *new} - HARMLESS - placed)
    pairs += [(key, old.get(key, "the default"), new.get(key, "the default")) for key in keys]
    return [f"{key} was {_text(a)}, now {_text(b)}" for key, a, b in pairs if a != b]


def _text(value: Any) -> str:
    return "not given" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.pt"))


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RUN_JSON
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON ({error}). Give --overwrite to train anew.") from error
    if not isinstance(content, dict) or not isinstance(content.get("versions"), dict):
        raise UsageError(f"{path}: is not the note of a training. Give --overwrite to train anew.")
    return content
