# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
How near PRNet finds points whose true places are known: ``python tests/benchmarks/phantom_points.py --steps 1500``.

Both networks of ``bundles/prnet`` are trained on phantoms, subjects 1 to 10. Subject 0 is the support. Prints errors in
mm and in voxels of 3 mm of
- points anywhere in its body, in the same subject on another grid, turned about each axis: the same place of the world;
- the centres of its organs, moved as the points inside them (median), in subjects 11 to 14.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.data import load_model, phantom, write_phantom_dataset
from monai_fss.engines.stages import run_stage
from monai_fss.engines.workflows import quiet_monai
from monai_fss.inferers import PointLocaliser
from monai_fss.transforms import SliceOrientation

GRID = 3.0
MARGIN = 15.0  # mm from the border of a scan, where a point's surroundings are cut off


def networks(folder: Path, steps: int) -> list[torch.nn.Module]:
    """The coarse and the fine one, trained on phantoms."""
    from monai.bundle import ConfigParser

    data, root = write_phantom_dataset(folder / "data", n_cases=10, seed=1), bundle_path("prnet")
    nets = []
    for level in ("coarse", "fine"):
        parser = ConfigParser()
        parser.read_config(str(root / "configs" / "pretrain.yaml"))
        own = parser[level] | {"steps": steps}
        settings: dict[str, Any] = {"dataset_dir": str(data), "cases": None, "level": level, level: own}
        stage = run_stage(root, "pretrain", folder, settings)
        parser["level"] = level
        nets.append(load_model(f"{stage}/model.pt", parser.get_parsed_content("network_def")))
    return nets


def scan(seed: int, **grid: Any) -> tuple[MetaTensor, MetaTensor]:
    """Image and label in voxels of 3 mm."""
    made = phantom(seed, **grid)
    turned, affine = SliceOrientation(), torch.from_numpy(made.affine)
    image, label = (turned(MetaTensor(torch.from_numpy(a[None].astype(np.float32)), affine=affine)) for a in made[:2])
    image = Spacing([GRID] * 3, padding_mode="border")(image)
    high = np.percentile(np.asarray(image), 99.5)
    return (image / high).clamp(0, 1), Spacing([GRID] * 3, mode="nearest")(label)


def same_subject(localiser: PointLocaliser, points: int) -> np.ndarray:
    """Errors in mm, one each point."""
    support, _ = scan(0)
    query, _ = scan(0, shape=(120, 132, 44), spacing=(2.8, 2.6, 6.0), oblique=6.0)
    inside = np.argwhere(np.asarray(support[0]) > 0.2)
    voxels = inside[np.random.default_rng(0).permutation(len(inside))]
    to_query = np.linalg.inv(np.asarray(query.affine, float)) @ np.asarray(support.affine, float)
    true = voxels @ to_query[:3, :3].T + to_query[:3, 3]
    edge, last = MARGIN / GRID, np.array(query.shape[1:]) - 1
    shown = ((true >= edge) & (true <= last - edge)).all(1)
    voxels, true = voxels[shown][:points], true[shown][:points]
    found = localiser(localiser.support(support, voxels, [1] * len(voxels)), query)
    return np.linalg.norm(found.mm - true * query.pixdim.numpy(), axis=1)


def other_subjects(localiser: PointLocaliser) -> np.ndarray:
    """Errors in mm, subjects x organs."""
    image, label = scan(0)
    mask, rng = np.asarray(label[0]).astype(int), np.random.default_rng(0)
    values = [int(v) for v in np.unique(mask) if v]
    voxels = np.concatenate([rng.permutation(np.argwhere(mask == v))[:40] for v in values])
    of = mask[tuple(voxels.T)]
    support = localiser.support(image, voxels, of.tolist())
    errors = []
    for seed in range(11, 15):
        query, truth = scan(seed)
        moved = localiser(support, query).mm - support.mm
        errors.append(
            [
                np.linalg.norm(
                    np.argwhere(mask == v).mean(0) * GRID
                    + np.median(moved[of == v], axis=0)
                    - np.argwhere(np.asarray(truth[0]).astype(int) == v).mean(0) * GRID
                )
                for v in values
            ]
        )
    return np.array(errors)


def main() -> None:
    """Train, locate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where the networks are kept; default: nowhere")
    args = parser.parse_args()
    quiet_monai()
    with tempfile.TemporaryDirectory() as temporary:
        nets = networks(args.folder or Path(temporary), args.steps)
    for name, settings in (("whole", {}), ("without matching", {"match_levels": ()})):
        localiser = PointLocaliser(*nets, **settings)
        same, other = same_subject(localiser, args.points), other_subjects(localiser)
        print(f"{name}: same subject, mean {same.mean():.1f} mm = {same.mean() / GRID:.2f} voxels")
        print(f"{name}: organs of others, mean {other.mean():.1f} mm = {other.mean() / GRID:.2f} voxels")


if __name__ == "__main__":
    main()
