# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training on the studies of a datastore, its progress, and the model that comes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.answer import Workplace
from monai_fss.apps.label_app.organs import numbered_alike, organs_of
from monai_fss.apps.label_app.scribbles import BACKGROUND, scribbled_study
from monai_fss.apps.label_app.studies import Study
from monai_fss.apps.label_app.wanted import device_of, pairs_of
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import parse_settings
from monai_fss.apps.train.command import RESERVED
from monai_fss.apps.train.workflow import train
from monai_fss.data import SCAN_SUFFIXES, ScanError, atomic_path, check_scan, write_json

__all__ = ["data_folder", "progress", "train_on_studies", "training_options"]

DATA, RUN = "data", "training"
_PASSED_ON = {key: f"another parameter than set ({option})" for key, option in RESERVED.items()}
_CHECKPOINT = re.compile(r"checkpoint_(\d+)\.pt")
_BEST = re.compile(r"dice=([0-9.]+)\.pt")


def training_options(method: Method) -> dict[str, Any]:
    """Parameters of a request with their defaults, as viewers list them; 0 steps are as many as the bundle has."""
    more = {"support": ""} if "scribbles" in method.known else {}
    return {"steps": 0, **more, "device": "", "set": ""}


def train_on_studies(
    method: Method,
    studies: Sequence[Study],
    folder: Path,
    place: Workplace,
    request: Mapping[str, Any],
    scribbled: Sequence[Study] = (),
) -> dict[str, Any]:
    """
    Train a method on all studies that can be read, labelled or not, and put its model where the app finds it.

    What was interrupted goes on where it stopped, if the request and the studies are the same. The model of an earlier
    training answers until the new one is done.

    Args:
        method: what is trained.
        studies: of the datastore. Labels serve those methods that learn from them, and others to watch the training.
        folder: of the model: ``model.pt`` will be in it.
        place: where renumbered labels go, and what is known of the organs.
        request: ``steps`` (or MONAI Label's ``max_epochs``), ``device`` (text), ``set`` (see
            :func:`.wanted.pairs_of`), and ``support``, the study with the scribbles, for a method that
            learns from some.
        scribbled: the studies with the labels of the tag ``scribbles``.

    Returns:
        what came of it: ``model`` (path), ``steps``, ``studies`` (names), ``passed_over``, ``seconds``.

    Raises:
        ScanError, UsageError: the training is refused.
    """
    start = time.time()
    settings = _settings(method, request)
    passed_over: list[str] = []
    usable = [study for study in studies if not _problems(study, passed_over)]
    if not usable:
        raise ScanError(passed_over or ["the datastore holds no study. Add scans to it."])
    for problem in passed_over:
        print(f"passed over: {problem}", flush=True)
    data = data_folder(folder / DATA, usable, place)
    if "scribbles" in method.known:
        marked = scribbled_study(scribbled, str(request.get("support") or ""))
        settings |= {"support": marked.name, "scribbles": str(marked.label), "background": BACKGROUND}
    run = folder / RUN
    chosen = {"settings": settings, "device": device_of(request.get("device")).get("device")}
    steps = _train(method, data, run, chosen)
    with atomic_path(folder / "model.pt") as unfinished:
        shutil.copyfile(run / "model.pt", unfinished)
    seconds = round(time.time() - start, 1)
    told = {"model": str(folder / "model.pt"), "steps": steps, "studies": [study.name for study in usable]}
    write_json(folder / "trained.json", {**told, "passed_over": passed_over, "seconds": seconds})
    return {**told, "passed_over": passed_over, "seconds": seconds}


def _train(method: Method, data: Path, run: Path, chosen: Mapping[str, Any]) -> int:
    """Go on with what was interrupted, or begin anew."""
    if _unfinished(run):
        try:
            return train(method, data, run, resume=True, **chosen)
        except UsageError as error:
            print(f"the training that was interrupted begins anew: {error}", flush=True)
    return train(method, data, run, overwrite=True, **chosen)


def data_folder(folder: Path, studies: Sequence[Study], place: Workplace) -> Path:
    """
    The studies as a data set folder: links to the scans, and to labels with their common values.

    Args:
        folder: made anew.
        studies: those to train on.
        place: see :func:`train_on_studies`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    organs = organs_of(studies, place.declared)
    for study in studies:
        _link(study.image, folder / "images" / f"{study.name}{_ending(study.image)}")
        if study.label is not None:
            label = numbered_alike(study, organs, place.labels)
            _link(label, folder / "labels" / f"{study.name}{_ending(label)}")
    content: dict[str, Any] = {"name": "studies", "labels": organs}
    write_json(folder / "dataset.json", content | ({"modality": place.modality} if place.modality else {}))
    return folder


def progress(folder: Path) -> dict[str, Any]:
    """
    How far the training of a model is, as MONAI Label's clients show it, read from its folder.

    Returns:
        ``epoch``, ``total_epochs``, ``best_metric`` (the best Dice of the validation, where there was one),
        ``start_ts``, and ``total_time`` when it is done; empty where there was none.
    """
    run = folder / RUN
    note = _note(run)
    if not note:
        return {}
    known = {**Method(note["bundle"], note.get("recipe")).known, **note.get("settings", {})}
    each = known.get("steps_per_epoch")
    total = known.get("steps")
    done = max(
        (int(found[1]) for file in run.glob("checkpoints/*.pt") if (found := _CHECKPOINT.fullmatch(file.name))),
        default=0,
    )
    started = (run / "run.json").stat().st_mtime if not note.get("finished") else _started(folder)
    told: dict[str, Any] = {"start_ts": int(started), "epoch": 0, "total_epochs": 0}
    if isinstance(each, int) and isinstance(total, int) and each:
        told |= {"epoch": (total if note.get("finished") else done) // each, "total_epochs": total // each}
    best = [float(found[1]) for file in run.glob("checkpoints/best/*.pt") if (found := _BEST.search(file.name))]
    if best:
        told["best_metric"] = max(best)
    if note.get("finished") and (folder / "trained.json").is_file():
        told["total_time"] = json.loads((folder / "trained.json").read_text(encoding="utf-8"))["seconds"]
    return told


def _started(folder: Path) -> float:
    return (folder / DATA).stat().st_mtime if (folder / DATA).is_dir() else 0.0


def _settings(method: Method, request: Mapping[str, Any]) -> dict[str, Any]:
    settings = parse_settings(pairs_of(request.get("set")), method.files, method.reserve(_PASSED_ON), "set ")
    each = {**method.known, **settings}.get("steps_per_epoch")
    steps, epochs = request.get("steps") or 0, request.get("max_epochs") or 0
    if not all(str(number).isdecimal() for number in (steps, epochs)):
        raise UsageError(f"steps {steps!r}, max_epochs {epochs!r}: are no numbers of 0 or more. Give one of them.")
    if int(steps) or int(epochs):
        if "steps" in settings:
            raise UsageError("steps: is given twice, by itself and in set. Give it once.")
        settings["steps"] = int(steps) or int(epochs) * int(each or 1)
    return settings


def _problems(study: Study, told: list[str]) -> list[str]:
    try:
        check_scan(study.image)
    except ScanError as error:
        told += error.problems
        return error.problems
    return []


def _unfinished(run: Path) -> bool:
    note = _note(run)
    return bool(note) and not note.get("finished") and any((run / "checkpoints").glob("*.pt"))


def _note(run: Path) -> dict[str, Any]:
    if not (run / "run.json").is_file():
        return {}
    note: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return note


def _ending(path: Path) -> str:
    return next((suffix for suffix in SCAN_SUFFIXES if path.name.lower().endswith(suffix)), "")


def _link(source: Path, target: Path) -> None:
    """A link, or a copy where the system allows none."""
    try:
        os.symlink(source.resolve(), target, target_is_directory=source.is_dir())
    except OSError:
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
