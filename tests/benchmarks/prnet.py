# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
How well PRNet finds scribbles in labelled scans that it was not trained on.

``python tests/benchmarks/prnet.py propagation.pt --data DATA --support x --cases a,b,c [--plot FILE]``:
``propagation.pt`` is in the folder of the stage "propagate" of a training. Prints, over the scans named:
- the distance of the located centre of each organ (moved as its points, median) from the true one, and that of the same
  relative place in the box around the body;
- precision and kept points of each class over tau (Fig. 6 of the paper), also drawn into FILE;
- Dice of the pseudo-masks at tau 0, 0.25, 0.5 and 0.9 (Table 2), and with all points (tau -2).
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

TAUS = (-2.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PSEUDO_TAUS = (-2.0, 0.0, 0.25, 0.5, 0.9)
GROWTH = {"limit": 50.0, "intensity_weight": 0.03, "iterations": 4}


def body_box(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First voxel and end of the box around what is not air, (3,) each."""
    shown = np.argwhere(image > 0.02)
    return shown.min(0), shown.max(0) + 1


def centre(mask: np.ndarray) -> np.ndarray:
    """Mean of a mask's voxels."""
    return np.argwhere(mask).mean(0)


def scan_errors(
    item: Any, found: Any, own: np.ndarray, known: dict[str, Any], spacing: float
) -> dict[int, tuple[float, float]]:
    """mm from each organ's true centre: by the points, which went as its centre would have, and by the body's box.

    ``own``: mm of the points in the support; ``known``: centre of each organ there, mm and relative to the body's box.
    """
    label, errors = np.asarray(item["label"][0]).astype(int), {}
    low, high = body_box(np.asarray(item["image"][0]))
    for value, (own_centre, relative) in known.items():
        if not (label == int(value)).any():
            continue
        true = centre(label == int(value)) * spacing
        by_points = own_centre + np.median((found.mm - own)[found.values == int(value)], axis=0)
        by_box = (low + relative * (high - low)) * spacing
        errors[int(value)] = (float(np.linalg.norm(by_points - true)), float(np.linalg.norm(by_box - true)))
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
    background, spacing = settings["background"], settings["pixdim"]
    values = [int(v) for v in np.unique(kept.values) if v != background]
    smooth = settings["smooth"] if args.smooth is None else args.smooth
    localiser = PointLocaliser(network.coarse, network.fine, smooth=smooth)
    load, cases = prnet_transforms(settings, ["image", "label"]), DatasetFolder.read(args.data).cases
    items = {
        name: load({k: str(getattr(cases[name], k)) for k in ("image", "label")}) for name in args.cases.split(",")
    }
    own = load({k: str(getattr(cases[args.support], k)) for k in ("image", "label")})
    support = localiser.support(own["image"], kept.voxels, kept.values)
    low, high = body_box(np.asarray(own["image"][0]))
    centres = {v: centre(np.asarray(own["label"][0]) == v) for v in values}
    known = {str(v): (centres[v] * spacing, (centres[v] - low) / (high - low)) for v in values}
    errors, similarity, right, dice, seconds = [], [], [], {tau: [] for tau in PSEUDO_TAUS}, []
    for item in items.values():
        start = time.perf_counter()
        found = localiser(support, item["image"])
        seconds.append(time.perf_counter() - start)
        label = np.asarray(item["label"][0]).astype(int)
        label[~np.isin(label, values)] = 0
        errors.append(scan_errors(item, found, support.mm, known, spacing))
        true = np.where(found.values == background, 0, found.values)
        similarity.append(found.similarity)
        right.append(label[tuple(found.voxels.T)] == true)
        for tau in PSEUDO_TAUS:
            grower = ScribblePropagation(localiser, support, "", tau, background, growth=GROWTH)
            grower.localiser = lambda *_, known=found: known  # type: ignore[assignment]
            mask = grower.pseudo_mask(item["image"])[0].numpy()
            dice[tau].append([strict_dice(mask == v, label == v) for v in values])
    print(f"{len(support.values)} points, {np.median(seconds):.1f} s a query, {torch.get_num_threads()} threads")
    _print_errors(errors, values)
    curves = _curves(np.stack(similarity), np.stack(right), support.values)
    for value, rows in curves.items():
        print(f"class {value}: tau, precision, kept: " + "  ".join(f"{t:g} {p:.2f} {k:.2f}" for t, p, k in rows))
    for tau, scores in dice.items():
        print(f"pseudo-masks at tau {tau:g}: {np.round(100 * np.mean(scores, 0), 1)}, mean {100 * np.mean(scores):.1f}")
    if args.plot:
        _draw(curves, background, args.plot)


def _print_errors(errors: list[dict[int, tuple[float, float]]], values: list[int]) -> None:
    for value in values:
        both = np.array([found[value] for found in errors if value in found])
        print(f"class {value}: centre off by {np.median(both[:, 0]):.1f} mm, by the box {np.median(both[:, 1]):.1f}")
    every = np.array([pair for found in errors for pair in found.values()])
    ratio = np.median(every[:, 0]) / np.median(every[:, 1])
    print(f"all: median {np.median(every[:, 0]):.1f} mm, by the box {np.median(every[:, 1]):.1f} ({100 * ratio:.0f} %)")


def _curves(
    similarity: np.ndarray, right: np.ndarray, values: np.ndarray
) -> dict[int, list[tuple[float, float, float]]]:
    """For each class (tau, precision, share of points kept), means over scans; precision 0 where none is kept."""
    curves = {}
    for value in np.unique(values).tolist():
        own, rows = values == value, []
        for tau in TAUS:
            kept = similarity[:, own] > tau
            hits = [r[k].mean() if k.any() else 0.0 for r, k in zip(right[:, own], kept, strict=True)]
            rows.append((tau, float(np.mean(hits)), float(kept.mean())))
        curves[value] = rows
    return curves


def _draw(curves: dict[int, list[tuple[float, float, float]]], background: int | None, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for value, rows in curves.items():
        tau, precision, kept = np.array(rows[1:]).T
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
