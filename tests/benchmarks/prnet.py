# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
How well PRNet finds scribbles in labelled scans that it was not trained on.

``python tests/benchmarks/prnet.py propagation.pt --data DATA --support x --cases a,b,c [--plot FILE]``:
``propagation.pt`` is in the folder of the stage "propagate" of a training. Prints, over the scans named:
- the distance of the located centre of each organ (moved as its points, median) from the true one, that of the same
  relative place in the box around the body, and that by affine registration of the scans;
- precision and kept points of each class over tau (Fig. 6 of the paper), also drawn into FILE;
- Dice of the pseudo-masks at tau 0, 0.25, 0.5 and 0.9 (Table 2), and with all points (tau -2): as they grew, and
  without leaks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_fss.data import DatasetFolder
from monai_fss.inferers import PointLocaliser, ScribblePropagation, SupportPoints, load_prnet, prnet_transforms
from monai_fss.metrics import strict_dice
from monai_fss.registration import register

TAUS = (-2.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PSEUDO_TAUS = (-2.0, 0.0, 0.25, 0.5, 0.9)
CLEANED = (None, 0.1)  # tolerance of remove_leaks
GROWTH = {"limit": 50.0, "intensity_weight": 0.03, "iterations": 4}


def body_box(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First voxel and end of the box around what is not air, (3,) each."""
    shown = np.argwhere(image > 0.02)
    return shown.min(0), shown.max(0) + 1


def centre(mask: np.ndarray) -> np.ndarray:
    """Mean of a mask's voxels."""
    return np.argwhere(mask).mean(0)


def centres_found(item: Any, own: Any, found: Any, points: np.ndarray, value: int) -> dict[str, np.ndarray]:
    """Where the centre of an organ of the support lies in a scan, mm: as its points went, in the body's box, affine.

    ``points``: mm of the points in the support.
    """
    spacing = item["image"].pixdim.numpy()
    middle = centre(np.asarray(own["label"][0]) == value)
    low, high = body_box(np.asarray(own["image"][0]))
    first, last = body_box(np.asarray(item["image"][0]))
    return {
        "PRNet": middle * own["image"].pixdim.numpy() + np.median((found.mm - points)[found.values == value], axis=0),
        "box": (first + (middle - low) / (high - low) * (last - first)) * spacing,
        "affine": affine_place(own["image"], item["image"], middle) * spacing,
    }


def affine_place(own: Any, query: Any, voxel: np.ndarray) -> np.ndarray:
    """Where an affine registration has a voxel of the support in a query, voxels."""
    world = np.asarray(own.affine, dtype=float) @ np.append(voxel, 1.0)
    field = register(own, query, "affine")
    mapped = field.map(torch.from_numpy(world[None, :3]).float())[0].numpy()
    return (np.linalg.inv(np.asarray(query.affine, dtype=float)) @ np.append(mapped, 1.0))[:3]


def scan_errors(item: Any, own: Any, found: Any, points: np.ndarray, values: list[int]) -> dict[int, dict[str, float]]:
    """mm from each organ's true centre, by each way of finding it."""
    label, spacing = np.asarray(item["label"][0]).astype(int), item["image"].pixdim.numpy()
    errors = {}
    for value in values:
        if (label == value).any():
            true = centre(label == value) * spacing
            places = centres_found(item, own, found, points, value)
            errors[value] = {name: float(np.linalg.norm(place - true)) for name, place in places.items()}
    return errors


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--support", required=True, help="the case with the scribbles")
    parser.add_argument("--cases", required=True)
    parser.add_argument("--smooth", type=float, help="mm; default: as the file says")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    network, settings = load_prnet(args.file)
    kept = SupportPoints.from_state(network.points())
    background = settings["background"]
    values = [int(v) for v in np.unique(kept.values) if v != background]
    smooth = settings["smooth"] if args.smooth is None else args.smooth
    localiser = PointLocaliser(network.coarse, network.fine, smooth=smooth, **settings.get("localisation", {}))
    load, cases = prnet_transforms(settings, ["image", "label"]), DatasetFolder.read(args.data).cases
    items = {
        name: load({k: str(getattr(cases[name], k)) for k in ("image", "label")}) for name in args.cases.split(",")
    }
    own = load({k: str(getattr(cases[args.support], k)) for k in ("image", "label")})
    support = localiser.support(own["image"], kept.voxels, kept.values)
    errors, similarity, right, seconds = [], [], [], []
    dice: dict[tuple[float, float | None], list[list[float]]] = {(t, c): [] for t in PSEUDO_TAUS for c in CLEANED}
    for item in items.values():
        start = time.perf_counter()
        found = localiser(support, item["image"])
        seconds.append(time.perf_counter() - start)
        label = np.asarray(item["label"][0]).astype(int)
        label[~np.isin(label, values)] = 0
        errors.append(scan_errors(item, own, found, support.mm, values))
        true = np.where(found.values == background, 0, found.values)
        similarity.append(found.similarity)
        right.append(label[tuple(found.voxels.T)] == true)
        for (tau, tolerance), scores in dice.items():
            grower = ScribblePropagation(localiser, support, "", tau, background, growth=GROWTH, tolerance=tolerance)
            mask = grower.grow(item["image"], found)
            scores.append([strict_dice(mask == v, label == v) for v in values])
    print(f"{len(support.values)} points, {np.median(seconds):.1f} s a query, {torch.get_num_threads()} threads")
    _print_errors(errors, values)
    curves = _curves(np.stack(similarity), np.stack(right), support.values)
    for value, rows in curves.items():
        print(f"class {value}: tau, precision, kept, scans that keep half:")
        print("  ".join(f"{t:g} {p:.3f} {k:.2f} {half:.2f}" for t, p, k, half in rows))
    for (tau, tolerance), scores in dice.items():
        how, percent = "as they grew" if tolerance is None else "without leaks", 100 * np.array(scores)
        print(f"pseudo-masks at tau {tau:g}, {how}: {np.round(percent.mean(0), 1)}, mean {percent.mean():.1f}")
    if args.plot:
        _draw(curves, background, args.plot)


def _print_errors(errors: list[dict[int, dict[str, float]]], values: list[int]) -> None:
    every = [found[value] for found in errors for value in found]
    for name in every[0]:
        medians = [np.median([found[value][name] for found in errors if value in found]) for value in values]
        whole = np.median([each[name] for each in every])
        ratio = whole / np.median([each["box"] for each in every])
        print(f"centre off by, {name}: {np.round(medians, 1)} mm, all {whole:.1f} ({100 * ratio:.0f} % of the box's)")


def _curves(similarity: np.ndarray, right: np.ndarray, values: np.ndarray) -> dict[int, list[tuple[float, ...]]]:
    """For each class (tau, precision, share of points kept, share of scans that keep half of them), means over scans;
    precision 0 where none is kept."""
    curves = {}
    for value in np.unique(values).tolist():
        own, rows = values == value, []
        for tau in TAUS:
            kept = similarity[:, own] > tau
            hits = [r[k].mean() if k.any() else 0.0 for r, k in zip(right[:, own], kept, strict=True)]
            rows.append((tau, float(np.mean(hits)), float(kept.mean()), float((kept.mean(1) >= 0.5).mean())))
        curves[value] = rows
    return curves


def _draw(curves: dict[int, list[tuple[float, ...]]], background: int | None, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for value, rows in curves.items():
        tau, precision, kept, _ = np.array(rows[1:]).T
        name = "background" if value == background else f"class {value}"
        line = axes[0].plot(tau, precision, marker="o", label=name)[0]
        axes[0].axhline(rows[0][1], color=line.get_color(), linestyle=":", linewidth=1)
        axes[1].plot(tau, kept, marker="o", label=name)
    axes[0].set(xlabel="tau", ylabel="precision (dotted: all points)", ylim=(0, 1.02))
    axes[1].set(xlabel="tau", ylabel="share of points kept", ylim=(0, 1.02))
    axes[1].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
