# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
How long 1,000 points of a labelled scan take to be found in one query: ``python tests/benchmarks/locate_points.py``.

The compact networks of ``bundles/prnet`` (untrained: the time does not depend on the weights), a query of 128 x 128 x
128 voxels of 3 mm, as many threads as the processor has cores. Prints the seconds of the whole way, of that without
matching, and without the comparison of features.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.data import phantom
from monai_fss.inferers import PointLocaliser
from monai_fss.networks.nets import PRNet


def network(level: str) -> PRNet:
    """Of ``train.yaml``."""
    parser = ConfigParser()
    parser.read_config(str(bundle_path("prnet") / "configs" / "train.yaml"))
    settings, base = parser[level], parser["base"]
    return PRNet.of_level(settings, base)


def scan(seed: int, voxels: int) -> MetaTensor:
    """A phantom in voxels of 3 mm, 0..1."""
    made = phantom(seed, shape=(voxels,) * 3, spacing=(3, 3, 3))
    image = torch.from_numpy(made.image[None].astype(np.float32))
    return MetaTensor((image / image.quantile(0.99)).clamp(0, 1), affine=torch.from_numpy(made.affine))


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--voxels", type=int, default=128)
    args = parser.parse_args()
    nets = network("coarse"), network("fine")
    support, query = scan(0, args.voxels), scan(1, args.voxels)
    inside = np.argwhere(support[0].numpy() > 0.1)
    points = inside[np.random.default_rng(0).choice(len(inside), args.points, replace=False)]
    ways: dict[str, dict[str, Any]] = {
        "whole": {},
        "without matching": {"match_levels": ()},
        "without matching and comparison": {"match_levels": (), "unrated": [1]},
    }
    print(f"{args.points} points, a query of {args.voxels}^3, {torch.get_num_threads()} threads")
    for name, settings in ways.items():
        localiser = PointLocaliser(*nets, **settings)
        known = localiser.support(support, points, [1] * len(points))
        start = time.perf_counter()
        localiser(known, query)
        print(f"{name}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
