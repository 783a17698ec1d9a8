# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
What several organs cost: a conditioned network against its encoder alone.

Run: ``python tests/benchmarks/multi_way.py [--encoder resnet18]``. Exit code 1 if the ratio is above the limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from monai_fss.inferers import FewShotInferer, SupportSet
from monai_fss.networks.nets import ENCODERS, ADNet, build_encoder

WAYS, SLICES, SIZE, BATCH = 4, 36, 256, 8


def support() -> SupportSet:
    """One labelled slice for each organ, a disc."""
    grid = torch.arange(SIZE) - SIZE / 2
    label = torch.zeros(WAYS, 1, 1, SIZE, SIZE)
    for way in range(WAYS):
        label[way] = (grid[:, None] ** 2 + grid[None] ** 2 < (20 + 10 * way) ** 2).float()
    return SupportSet(torch.rand(WAYS, 1, 1, SIZE, SIZE), label, tuple(range(1, WAYS + 1)))


def seconds(function: Callable[[torch.Tensor], torch.Tensor], slices: torch.Tensor) -> float:
    """Time of one pass over the slices, in batches."""
    start = time.perf_counter()
    for batch in slices.split(BATCH):
        function(batch)
    return time.perf_counter() - start


@torch.inference_mode()
def main() -> int:
    """Print the times, their ratio and the encoder passes of the support."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", choices=[name for name, dims in ENCODERS.items() if dims == 2], default="compact")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = ADNet(build_encoder(arguments.encoder, in_channels=1)).eval()
    passes: list[int] = []
    hook = network.encoder.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    inferer = FewShotInferer(support(), BATCH)
    for _ in range(2):  # two volumes of one slice
        inferer(torch.rand(1, 1, SIZE, SIZE, 1), network)
    hook.remove()
    print(f"{WAYS} organs, {len(passes) - 2} encoder passes for the support, 1 for each of two queries of one slice")
    slices = torch.rand(SLICES, 1, SIZE, SIZE)
    # Taken in turn, so that whatever else the machine does falls on both.
    times = [(seconds(network.encoder, slices), seconds(network, slices)) for _ in range(arguments.repeats + 1)][1:]
    encoder, conditioned = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(
        f"{arguments.encoder}, {torch.get_num_threads()} thread(s), {SLICES} slices of {SIZE} x {SIZE}: "
        f"encoder {encoder:.2f} s, conditioned network {conditioned:.2f} s, ratio {ratio:.3f} (limit {arguments.limit})"
    )
    return int(ratio > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
