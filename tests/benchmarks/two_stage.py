# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Time and memory of two-stage segmentation on synthetic whole bodies, and seconds of a training step; one thread.

    python tests/benchmarks/two_stage.py --cache FOLDER

The weights are untrained; the coarse stage shows nothing, so that regions are those of the prior.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor

from monai_fss.data import ContentCache, whole_body_phantom
from monai_fss.inferers import TwoStageInferer
from monai_fss.inferers.two_stage.priors import packed_atlases
from monai_fss.losses import KnownVoxelsLoss
from monai_fss.networks.nets import ResidualFCN, TwoStageNet

ORGANS = [5, 6, 10, 11, 13, 14, 17, 18]


def scan(seed: int, shape: Sequence[int]) -> dict[str, MetaTensor]:
    made = whole_body_phantom(seed, shape=shape)
    affine = torch.from_numpy(made.affine)
    image = MetaTensor(torch.from_numpy(made.image)[None].float().div(900).clamp(0, 1), affine=affine)
    return {"image": image, "label": MetaTensor(torch.from_numpy(made.label)[None].int(), affine=affine)}


def seconds(work: Callable[[], Any]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def step(net: ResidualFCN, image: torch.Tensor, classes: int) -> float:
    """Of a training step, the mean of four."""
    label = torch.randint(0, classes, (len(image), 1, *image.shape[2:]))
    optimizer, loss = torch.optim.Adam(net.parameters()), KnownVoxelsLoss()

    def train() -> None:
        optimizer.zero_grad()
        loss(net(image), label).backward()
        optimizer.step()

    train()
    return sum(seconds(train) for _ in range(4)) / 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", required=True, help="folder for registrations; empty at first")
    parser.add_argument("--atlases", type=int, default=2)
    parser.add_argument("--shape", type=int, nargs=3, default=(112, 80, 256))
    options = parser.parse_args()
    torch.set_num_threads(1)
    fine = ResidualFCN(2, 2, (16, 32, 64), (1, 2, 2))
    print(f"coarse step, 1 window of 64^3: {step(ResidualFCN(1, 14), torch.rand(1, 1, 64, 64, 64), 14):.2f} s")
    print(f"fine step, 4 windows of 32^3: {step(fine, torch.rand(4, 2, 32, 32, 32), 2):.2f} s")
    net = TwoStageNet(ResidualFCN(1, 19), fine, ORGANS).eval()
    torch.nn.init.zeros_(net.coarse.last.weight)  # type: ignore[union-attr,arg-type]
    net.remember(packed_atlases([scan(1 + number, options.shape) for number in range(options.atlases)], None))
    query = scan(0, options.shape)["image"]
    for kept in ("not kept", "kept"):
        inferer = TwoStageInferer(
            [64] * 3,
            [32] * 3,
            list(range(1, 19)),
            ORGANS,
            registration={"preset": "fast"},
            cache=ContentCache(options.cache),
        )
        inputs = MetaTensor(query.as_tensor()[None], affine=query.affine)
        taken = seconds(lambda one=inferer, given=inputs: one(given, net))  # type: ignore[misc]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"registrations {kept}: {taken:.1f} s, {memory:.1f} GB", flush=True)


if __name__ == "__main__":
    main()
