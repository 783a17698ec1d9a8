# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Time and peak memory of CRAPNet's parts, forward and backward: ``python tests/benchmarks/crapnet_blocks.py``.

At the paper's 256 x 32 x 32, with one thread: five cycle-resemblance blocks, both branches of five, CARAFE down (sigma
4) and up; and the compact encoder on the slice of 256 x 256 that such a map belongs to. Then the same at the bundle's
default: 70 channels, slices of 128 x 128. Exit code 1 if five blocks cost more than the encoder. Each part is measured
in a process of its own, so that its peak is its own; seconds are of the processor, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence

import torch

from monai_fss.networks.blocks import CarafeDownsample, CarafeUpsample, CycleResemblanceAttention
from monai_fss.networks.nets import CompactEncoder

GRID, BLOCKS = 32, 5
Part = tuple[Callable[[], torch.nn.Module], Sequence[tuple[int, ...]]]


def parts(channels: int, size: int) -> dict[str, Part]:
    """Module and shapes of its inputs."""
    maps = (1, channels, GRID, GRID)
    return {
        f"{BLOCKS} blocks": (lambda: CycleResemblanceAttention(channels, BLOCKS, query=False), [maps, maps]),
        f"2 branches of {BLOCKS}": (lambda: CycleResemblanceAttention(channels, BLOCKS), [maps, maps]),
        "CARAFE down": (lambda: CarafeDownsample(channels), [maps]),
        "CARAFE up": (lambda: CarafeUpsample(channels), [maps]),
        "compact encoder": (CompactEncoder, [(1, 1, size, size)]),
    }


def peak_mb() -> float:
    """The highest resident memory of this process so far, in MB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(part: Part, repeats: int) -> tuple[float, float, float]:
    """Seconds of a forward pass, of forward and backward, and MB above what the process held before; the least."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, inputs = part[0](), [torch.randn(shape, requires_grad=True) for shape in part[1]]
    held, forward, both = peak_mb(), [], []
    for _ in range(repeats):
        start = time.process_time()
        result = module(*inputs)
        forward.append(time.process_time() - start)
        sum(r.sum() for r in (result if isinstance(result, tuple) else [result]) if r.grad_fn is not None).backward()
        both.append(time.process_time() - start)
        del result
    return min(forward), min(both), peak_mb() - held


def in_a_process(part: Part, repeats: int) -> tuple[float, float, float]:
    """:func:`measure` in a forked process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(measure(part, repeats)))
    process.start()
    result = receiver.recv()
    process.join()
    return result


def compare(channels: int, size: int, repeats: int) -> float:
    """Print a table; forward time of the blocks over that of the encoder."""
    print(f"{channels} x {GRID} x {GRID}, slices of {size} x {size}:")
    found = {}
    for name, part in parts(channels, size).items():
        forward, both, memory = found[name] = in_a_process(part, repeats)
        print(
            f"  {name:16} forward {1000 * forward:6.1f} ms, and backward {1000 * both:6.1f} ms, peak {memory:4.0f} MB"
        )
    encoder = found["compact encoder"]
    for name in (f"{BLOCKS} blocks", f"2 branches of {BLOCKS}"):
        ratios = [a / b for a, b in zip(found[name], encoder, strict=True)]
        print(
            f"  {name} : encoder = {ratios[0]:.2f} forward, {ratios[1]:.2f} and backward, {ratios[2]:.2f} peak memory"
        )
    return found[f"{BLOCKS} blocks"][0] / encoder[0]


def main() -> int:
    """Measure the paper's size and the bundle's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--limit", type=float, default=1.0)
    arguments = parser.parse_args()
    ratios = [compare(256, 256, arguments.repeats), compare(70, 128, arguments.repeats)]
    return int(max(ratios) > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
