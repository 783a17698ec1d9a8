# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Workflows that run before another one, each once: a stage that is done is found again by what it depends on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_fss.data import learnt_scans, scribble_item, sha256_of, training_items, write_json
from monai_fss.digests import digests
from monai_fss.engines.workflows import parser_values, quiet_monai

__all__ = ["run_stage", "stage_folder"]

DONE = "stage.json"
PLACES = ("dataset_dir", "cases", "cache_dir", "scribbles", "label_dir", "maps", "student")
"""Settings that stand for files: what these hold counts."""
TRAININGS = ("pretrain", "train", "fine")
"""Stages that are trainings: they go on from a checkpoint."""
BEFORE = {"propagate": ("pretrain",)}
"""Stages that another one runs first, and so depends on."""


def stage_folder(
    bundle_root: str | Path, config: str, root: str | Path, settings: Mapping[str, Any], name: str | None = None
) -> Path:
    """Where a stage keeps its results: named by what they depend on, so that another stage never finds them.

    Args:
        bundle_root: folder of the bundle.
        config: name of the stage's file in the bundle's ``configs``, without ".yaml".
        root: folder of all stages.
        settings: plain values that go before the file's. ``dataset_dir`` and ``cases`` stand for the scans themselves:
            their names and contents count, where they lie does not; ``scribbles`` for what is marked; without them
            ``support`` stands for the label of that scan; ``label_dir``, "" for the data set's own, for the labels of
            these scans; ``maps``, a folder that a stage before has named by what it depends on, for this name (and the
            scans); ``student``, "" for none, for what this file holds.
        name: begins the folder's name. Default: ``level`` of the settings, or ``config``.
    """
    scans = [["maps", Path(settings["maps"]).name, settings["cases"]]] if "maps" in settings else _scans(settings)
    marks: list[Any] = [_marks(settings) if "support" in settings else None]
    marks += [sha256_of(settings["student"])] if settings.get("student") else []
    depends = {key: value for key, value in settings.items() if key not in PLACES}
    files = [Path(bundle_root) / "configs" / f"{name}.yaml" for name in (config, *BEFORE.get(config, ()))]
    contents = [sha256_of(file) for file in files]
    words = json.dumps([depends, scans, marks, contents], sort_keys=True)
    begins = str(settings.get("level", config)) if name is None else name
    return Path(root) / f"{begins}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def _scans(settings: Mapping[str, Any]) -> list[list[str]]:
    """Names and digests of the images and, where they are learnt from, of the labels."""
    folder, cases = settings["dataset_dir"], settings["cases"]
    if "label_dir" in settings:
        items = learnt_scans(folder, cases, settings["label_dir"]).items
    else:
        items = training_items(folder, cases)
    files = {Path(item["image"]).name: item["image"] for item in items}
    files |= {f"label/{Path(item['label']).name}": item["label"] for item in items if "label" in item}
    return [[file, entry["sha256"]] for file, entry in digests(files).items()]


def _marks(settings: Mapping[str, Any]) -> list[Any]:
    item = scribble_item(settings["dataset_dir"], settings["support"], settings.get("scribbles", ""))
    return [item["case"], item["simulated"], sha256_of(item["scribbles"])]


def run_stage(
    bundle_root: str | Path,
    config: str,
    root: str | Path,
    settings: Mapping[str, Any],
    device: Any = "cpu",
    first: bool = True,
    name: str | None = None,
) -> str:
    """Run a workflow of a bundle, or find that it is done.

    An interrupted one goes on where it stopped: a training from its newest checkpoint, anything else with the scans
    that are not done.

    Args:
        bundle_root, config, root, settings, name: see :func:`stage_folder`.
        device: that it runs on; the result does not depend on it.
        first: whether this is the process that runs it, of a distributed training; others wait until it is done.

    Returns:
        the stage's folder.
    """
    from monai.bundle import ConfigWorkflow

    folder = stage_folder(bundle_root, config, root, settings, name).absolute()
    while not first and not (folder / DONE).is_file():  # a launcher ends this process where the first one fails
        time.sleep(1)
    if (folder / DONE).is_file():
        return str(folder)
    print(f"{folder.name}: running {config}.yaml", flush=True)
    quiet_monai()
    path = Path(bundle_root) / "configs"
    trains, start = config in TRAININGS, time.time()
    places = {"bundle_root": bundle_root, "output_dir": folder, "device": str(device)}
    own = config in (
        "pretrain",
        "fine",
    )  # train.yaml has a folder for prepared scans in its cache, as the one around it
    places |= {"cache_dir": Path(root).absolute() / "cache" if own else Path(root).absolute()}
    workflow = ConfigWorkflow(
        config_file=str(path / f"{config}.yaml"),
        meta_file=str(path / "metadata.json"),
        logging_file=False,
        workflow_type="train" if trains else "infer",
        **parser_values({**places, **settings, **({"resume": True} if trains else {})}),
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    seconds = round(time.time() - start, 1)  # of this run: what an interrupted one took is not known
    write_json(folder / DONE, {"config": config, "settings": dict(settings), "seconds": seconds})
    return str(folder)
