# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Seconds and peak memory of ADNet in 3-D: a whole volume, or with ``--training`` one step on one episode.

Run: ``python tests/benchmarks/volumes.py [--encoder resnext101_3d] [--training [--checkpointing]]``. Without
``--training`` exit code 1 if the peak is above the limit. One measurement a process: memory is the process's highest.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import torch

from monai_fss.inferers import FewShotVolumeInferer, volume_support
from monai_fss.losses import ADNetLoss
from monai_fss.networks.nets import ENCODERS, ADNet, build_encoder

WAYS, VOLUME = 4, (256, 256, 36)
WINDOWS = {"compact_3d": (112, 112, 10), "resnext101_3d": (215, 215, 10)}


def peak_gb() -> float:
    """The highest resident memory of this process so far, in GB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def organs() -> torch.Tensor:
    """(1, H, W, D), as many balls as ways, one above the other."""
    grid = torch.meshgrid(*(torch.arange(n) for n in VOLUME), indexing="ij")
    label = torch.zeros(1, *VOLUME)
    for way in range(WAYS):
        middle = VOLUME[0] * (way + 1) / (WAYS + 1), VOLUME[1] / 2, VOLUME[2] / 2
        inside = sum(((g - m) / s) ** 2 for g, m, s in zip(grid, middle, (20, 30, 10), strict=True)) < 1
        label[0][inside] = way + 1
    return label


def inference(network: ADNet, channels: int) -> None:
    """Condition on a volume with all slices labelled, then segment another one."""
    network.eval()
    support = volume_support([{"image": torch.rand(channels, *VOLUME), "label": organs()}], slices="all")
    with torch.inference_mode():
        logits = FewShotVolumeInferer(support)(torch.rand(1, channels, *VOLUME), network)
    assert logits.shape == (1, 1 + WAYS, *VOLUME)


def training_step(network: ADNet, channels: int, window: tuple[int, int, int]) -> None:
    """Forward, backward and the step of the optimiser."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    label = torch.zeros(1, 1, *window)
    label[..., 40:80, 40:80, 2:8] = 1
    images = torch.rand(2, 1, channels, *window)
    ADNetLoss()(network(images[0], images[1:], label[None]), label).backward()
    optimizer.step()


def main() -> int:
    """Print time and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [name for name, dims in ENCODERS.items() if dims == 3]
    parser.add_argument("--encoder", choices=names, default="compact_3d")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--limit", type=float, default=6.0, help="GB of whole-volume inference")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    positions = [0.35, 0.3, 0.5] if arguments.encoder == "compact_3d" else []
    encoder = build_encoder(arguments.encoder, positions=positions, checkpointing=arguments.checkpointing)
    network, channels = ADNet(encoder), 1 + len(positions)
    imported, start = peak_gb(), time.perf_counter()
    if arguments.training:
        window = WINDOWS[arguments.encoder]
        training_step(network, channels, window)
        what = f"training step of one episode, two windows of {window}"
    else:
        inference(network, channels)
        what = f"support volume and query volume of {VOLUME}, {WAYS} ways"
    seconds, peak = time.perf_counter() - start, peak_gb()
    print(
        f"{arguments.encoder}{', checkpointing' * arguments.checkpointing}, {torch.get_num_threads()} thread(s), "
        f"{what}: {seconds:.1f} s, peak {peak:.2f} GB, {imported:.2f} of them before"
    )
    return int(not arguments.training and peak > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
