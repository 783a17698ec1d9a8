# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment --learn`: the folder that is to be segmented is learnt from first."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.ct_window import guessed_window
from monai_fss.apps.methods.method import Method
from monai_fss.data import Scan, ScanError, label_names, look_at_inputs, modality_of, write_json
from monai_fss.data.cases import case_name, label_case_name
from monai_fss.engines.stages import run_stage

__all__ = ["BUNDLE", "expected_time", "learn"]

BUNDLE = "self_training"
"""The method that learns from a folder."""
CACHE = "cache"
"""Sub-folder of the results where stages and registrations are kept, that of ``segment`` itself."""
PER_LITRE, PER_STEP = 3.3, 0.56
"""CPU seconds that it took to teach by a litre of a scan's box, two registrations and ways by others included, and for
a step of the student: abdominal CT of 40 litres, 13 organs, on one core of a server with bfloat16."""
LINKS = ".data-"
"""Begins the name of a folder of links to the scans, while it is learnt from them."""


def learn(
    support_image: Sequence[str | Path],
    support_label: Sequence[str | Path],
    images: str | Path,
    output: str | Path,
    labels: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Path:
    """
    Learn from a labelled scan and a folder of others, as ``monai-fss train --bundle self_training`` does.

    Stages are kept in ``OUTPUT/cache``, named by what they depend on: the same command goes on where it stopped, and
    what is done and unchanged is found again.

    Args:
        support_image, support_label: one labelled scan. It may be one of the folder's.
        images: folder of scans. Those that cannot be used, which ``segment`` names, are not learnt from.
        output: folder of the results.
        labels: label values wanted. Default: all of the label.
        settings: of the bundle's ``configs/train.yaml``.
        device: that it runs on. Default: CUDA where there is one.

    Returns:
        the model file.

    Raises:
        UsageError: not one labelled scan is given.
        ScanError: with every problem of the labelled scan; or no scan can be learnt from.
    """
    if len(support_image) != 1 or len(support_label) != 1:
        raise UsageError(
            f"--learn: learns from one labelled scan; {len(support_image)} --support-image and {len(support_label)} "
            "--support-label were given. Give one of each."
        )
    own_image, own_label = Path(support_image[0]), Path(support_label[0])
    inputs = look_at_inputs(str(own_image), str(own_label), labels, images)
    if inputs.problems:
        raise ScanError(inputs.problems)
    window = guessed_window(inputs.supports[0], modality_of([str(own_label)]))
    others = {case: scan.path for case, scan in inputs.queries.items() if not _same(scan.path, own_image)}
    if not others:
        raise ScanError(f"{images}: holds no scan besides the labelled one that can be learnt from. Leave --learn out.")
    root = Path(output).absolute()
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(f"{LINKS}*"):  # of a run that was killed; what it links to stays
        shutil.rmtree(left, ignore_errors=True)
    bundle = Method(BUNDLE).folder
    with TemporaryDirectory(dir=root, prefix=LINKS) as data:
        support = _collect(Path(data), own_image, own_label, others, Path(images).absolute().name)
        given = {**window, "labels": None if labels is None else list(labels), **(settings or {})}
        given |= {"dataset_dir": data, "cases": sorted([support, *others]), "support": support}
        given |= {"val_queries": 0, "tensorboard": False}
        litres = sum(_litres(inputs.queries[case]) for case in others)
        who = f"the label of {own_image.name} and {len(others)} scan(s)"
        print(f"learning from {who}: {expected_time(litres, given)}", flush=True)
        return Path(run_stage(bundle, "train", root / CACHE, given, device or _device(), name="student")) / "model.pt"


def _litres(scan: Scan) -> float:
    return math.prod(size * mm for size, mm in zip(scan.shape, scan.spacing, strict=True)) / 1e6


def expected_time(litres: float, settings: Mapping[str, Any]) -> str:
    """
    How long it takes to learn, in words, by what was measured (:data:`PER_LITRE`).

    Args:
        litres: volume of the boxes of all scans but the labelled one.
        settings: that differ from the bundle's.
    """
    known = Method(BUNDLE).settings(settings)
    minutes = (litres * PER_LITRE + known["rounds"] * known["steps"] * PER_STEP) / 60
    return (
        f"about {max(1, round(minutes))} minute(s) of one core, less where an earlier run has kept registrations, "
        f"or by preset=fast, second=null, intermediates=0 and fewer steps than {known['steps']}"
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _same(one: Path, other: Path) -> bool:
    return os.path.samefile(one, other)


def _collect(data: Path, image: Path, label: Path, others: Mapping[str, Path], name: str) -> str:
    """A data set of links to the scans, with the one label; the name of the labelled scan in it."""
    support = case_name(image)
    while support in others:  # another scan of that name
        support = f"labelled_{support}"
    scans = {**others, support: image}
    files = {data / "images" / f"{case}{path.name[len(case_name(path)) :]}": path for case, path in scans.items()}
    files[data / "labels" / f"{support}{label.name[len(label_case_name(label)) :]}"] = label
    for link, path in files.items():
        link.parent.mkdir(exist_ok=True)
        _link(link, path.absolute())
    names = label_names([str(label)])
    if names:
        write_json(data / "dataset.json", {"name": name, "labels": {organ: value for value, organ in names.items()}})
    return support


def _link(link: Path, path: Path) -> None:
    """A link, or where links cannot be made, as on some Windows machines, a copy."""
    try:
        link.symlink_to(path, path.is_dir())
    except OSError:
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, link)
