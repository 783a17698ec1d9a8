# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss demo`: both ways on synthetic scans, registration and training, to masks and a Dice table."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_fss.apps.segment.pipeline import segment
from monai_fss.apps.train.checks import check_schedule
from monai_fss.apps.train.workflow import train
from monai_fss.data import DatasetFolder, check_output, write_phantom_dataset, write_text_atomic
from monai_fss.metrics import affine_moved_mask, best_threshold_mask, strict_dice
from monai_fss.results.markdown import markdown_table

__all__ = ["add_arguments", "demo", "run"]

TRAINING, QUERIES = 12, 4
SEEDS = {"training": 1000, "test": 2000}
PARTS = ("training", "test", "queries", "atlas", "model", "masks")
ATLAS, ADNET = "atlas, whole labelled scan", "ADNet, one labelled slice"
PHANTOM: dict[str, Any] = {"shape": (128, 128, 32), "spacing": (2.5, 2.5, 7.7)}
# Supervoxels of half the default size: the aorta is smaller than the organs that the default is made for.
SETTINGS: dict[str, Any] = {"steps_per_epoch": 50, "val_queries": 0, "supervoxel_ml": 30.0}
ATLAS_SETTINGS: dict[str, Any] = {}  # the bundle's own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--output", default="demo", help="folder for scans, model and masks (default: demo)")
    parser.add_argument("--steps", type=int, default=600, help="training steps, a multiple of 50 (default: 600)")
    parser.add_argument("--overwrite", action="store_true", help="remove the finished demo that is there")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    start = time.time()
    table = demo(Path(args.output), args.steps, args.overwrite)
    print(f"\n{table}\n")
    print(f"masks and overlays: {Path(args.output) / 'masks'}; {(time.time() - start) / 60:.1f} minutes in all")
    return 0


def demo(output: Path, steps: int, overwrite: bool = False) -> str:
    """Make phantoms and segment them by one labelled scan: by registration, then by a network trained without labels.

    Args:
        output: folder; an earlier demo in it goes on where it stopped.
        steps: of the training.
        overwrite: remove an earlier demo that is finished; other files in the folder stay.

    Returns:
        a table of Dice in percent: both methods and two simple ways of using the labelled scan.
    """
    settings = {**SETTINGS, "steps": steps}
    check_schedule({}, settings)
    check_output(output, ["table.md"], overwrite)
    if (output / "table.md").exists():
        _remove(output)
    for part, count in (("training", TRAINING), ("test", 1 + QUERIES)):
        _phantoms(output, part, count)
    data = DatasetFolder.read(output / "test")
    support, *queries = data.cases.values()
    images = _query_folder(output, [case.image for case in queries])
    assert support.label is not None
    if not (output / "atlas" / "report.json").exists():
        segment(
            "atlas", None, [support.image], [support.label], images, output / "atlas", settings=dict(ATLAS_SETTINGS)
        )
    model = output / "model"
    if not (model / "model.pt").exists():
        resume = any((model / "checkpoints").glob("*.pt"))
        train("adnet", output / "training", model, settings=settings, resume=resume)
    if not (output / "masks" / "report.json").exists():
        segment("adnet", model / "model.pt", [support.image], [support.label], images, output / "masks")
    table = _table(output, data)
    write_text_atomic(output / "table.md", table + "\n")
    return table


def _remove(output: Path) -> None:
    """What a demo has written, and nothing else: the folder may be anybody's."""
    (output / "table.md").unlink()
    for part in PARTS:
        shutil.rmtree(output / part, ignore_errors=True)


def _phantoms(output: Path, part: str, count: int) -> None:
    """Made under another name and renamed, so that an interruption leaves no half data set."""
    if (output / part).exists():
        return
    print(f"making {count} synthetic scans in {output / part}")
    unfinished = output / f".unfinished-{part}"
    shutil.rmtree(unfinished, ignore_errors=True)
    write_phantom_dataset(unfinished, n_cases=count, seed=SEEDS[part], **PHANTOM)
    unfinished.rename(output / part)


def _query_folder(output: Path, files: list[Path]) -> Path:
    folder = output / "queries"
    folder.mkdir(exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return folder


def _table(output: Path, data: DatasetFolder) -> str:
    """Dice of each way of segmenting, over the queries; the best threshold is fitted to the support, organ by organ."""
    support, *queries = data.cases.values()
    known, anatomy = _read(support.image), _read(support.label)
    rows: dict[str, list[list[float]]] = {
        ATLAS: [],
        ADNET: [],
        "best threshold": [],
        "affinely moved mask": [],
    }
    for case in queries:
        image, truth = _read(case.image), _read(case.label)
        masks = [_read(output / folder / f"{case.name}.nii.gz") for folder in ("atlas", "masks")]
        for scores in rows.values():
            scores.append([])
        for value in data.labels.values():
            example = anatomy == value
            found = (
                *(mask == value for mask in masks),
                best_threshold_mask(known, example, image),
                affine_moved_mask(known, example, image),
            )
            for scores, prediction in zip(rows.values(), found, strict=True):
                scores[-1].append(strict_dice(prediction, truth == value))
    cells = [[name, *_percent(np.array(scores))] for name, scores in rows.items()]
    header = ["Dice, %", *(name.replace("_", " ") for name in data.labels), "mean"]
    return markdown_table(header, cells)


def _percent(scores: np.ndarray) -> list[str]:
    organs = 100 * scores.mean(axis=0)
    return [f"{value:.1f}" for value in (*organs, organs.mean())]


def _read(path: Path | None) -> np.ndarray:
    assert path is not None
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
