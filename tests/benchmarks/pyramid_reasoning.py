# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Time and memory of OrganNet's reasoning: ``python tests/benchmarks/pyramid_reasoning.py [EDGE] [SIZE]``.

Forward and backward of a neighbourhood of SIZE (default 7) on 1 x 8 x EDGE^3 (default 96), the values being two such
maps, each way in a process of its own: seconds, and the peak of its resident memory above what PyTorch itself takes.
"im2col" holds SIZE^3 copies of the features, and is left out where these would exceed 8 GB. Wanted at 96 and 7: below
1.5 GB in all.
"""

from __future__ import annotations

import subprocess
import sys

RUN = """
import resource, sys, time
import torch
import torch.nn.functional as F
from monai_fss.networks.blocks import neighbourhood_attention

def im2col(volume, size):
    reach = size // 2
    padded = F.pad(volume, [reach] * 6)
    h, w, d = volume.shape[2:]
    parts = [padded[:, :, i:i + h, j:j + w, k:k + d] for i in range(size) for j in range(size) for k in range(size)]
    return torch.stack(parts, 2)

def naive(query, key, value, size):
    weight = torch.softmax((im2col(key, size) * query[:, :, None]).sum(1), 1)
    return (im2col(value, size) * weight[:, None]).sum(2)

name, edge, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
inputs = [torch.randn(1, channels, edge, edge, edge, requires_grad=True) for channels in (8, 8, 16)]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
out = (naive if name == "im2col" else neighbourhood_attention)(*inputs, size)
middle = time.perf_counter()
out.square().mean().backward()
stop = time.perf_counter()
print(f"{name}: forward {middle - start:.1f} s, with backward {stop - start:.1f} s, peak {peak():.0f} MB "
      f"({peak() - before:.0f} MB more than before), {torch.get_num_threads()} threads")
"""


def main(edge: int = 96, size: int = 7) -> int:
    """Run both, where im2col fits."""
    copies = size**3 * edge**3 * 24 * 4 / 1e9
    print(f"1 x 8 x {edge}^3, neighbourhood {size}: im2col of keys and values would be {copies:.1f} GB")
    for name in ("cubes", *(("im2col",) if copies < 8 else ())):
        subprocess.run([sys.executable, "-c", RUN, name, str(edge), str(size)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
