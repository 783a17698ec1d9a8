# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How long the geodesic distance of 128 x 128 x 128 voxels takes: ``python tests/benchmarks/geodesic.py``."""

from __future__ import annotations

import time

import numpy as np

from monai_fss.transforms import geodesic_distance

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    image = rng.random((128, 128, 128), dtype=np.float32)
    seeds = rng.random(image.shape) > 0.9999
    geodesic_distance(image[:8, :8, :8], seeds[:8, :8, :8] | (np.indices((8, 8, 8)).sum(0) == 0), iterations=1)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        geodesic_distance(image, seeds, iterations=2)
        seconds.append(time.perf_counter() - start)
    print(f"{int(seeds.sum())} seeds, 2 iterations: {min(seconds):.2f} to {max(seconds):.2f} s")
