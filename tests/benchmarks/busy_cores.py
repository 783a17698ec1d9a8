# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Training steps beside a program that keeps a processor busy: ``python tests/benchmarks/busy_cores.py [BUSY]``.

Each line is a process of its own: seconds a step, the median of some, alone and beside BUSY (default 1) processes that
spin. Threads that wait in a loop (OpenMP's default) lose most where others need the processors too;
``monai_fss.apps.threads`` has them wait without one. Wanted: with threads of the commands' choice, beside one busy
process, at most twice the time of one thread alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from monai_fss.apps.threads import COUNTS, WAITING, set_threads

STEPS = """
import sys, time
import torch
from monai_fss.losses import ADNetLoss
from monai_fss.networks.nets import ADNet, build_encoder
torch.manual_seed(0)
network, loss = ADNet(build_encoder("compact")).train(), ADNetLoss()
optimizer = torch.optim.SGD(network.parameters(), 1e-3)
image, support = torch.rand(1, 1, 96, 96), torch.rand(1, 1, 1, 96, 96)
label = torch.zeros(1, 1, 96, 96)
label[..., 30:60, 30:60] = 1
seconds = []
while len(seconds) < 3 or (len(seconds) < 20 and sum(seconds) < float(sys.argv[1])):
    start = time.perf_counter()
    optimizer.zero_grad()
    loss(network(image, support_image=support, support_label=label[:, None]), label).backward()
    optimizer.step()
    seconds.append(time.perf_counter() - start)
print(sorted(seconds)[len(seconds) // 2], torch.get_num_threads())
"""


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Some processes that keep a processor busy each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def seconds_a_step(more: dict[str, str], seconds: float = 10) -> tuple[float, int]:
    """Median seconds of up to 20 training steps within some seconds, and how many threads they used."""
    environment = {name: value for name, value in os.environ.items() if name not in (*COUNTS, *WAITING)} | more
    call = [sys.executable, "-c", STEPS, str(seconds)]
    said = subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout.split()
    return float(said[0]), int(said[1])


def main(busy: int = 1) -> None:
    """Measure and print."""
    chosen: dict[str, str] = {}
    set_threads(chosen)
    ways = {"one thread": {"OMP_NUM_THREADS": "1"}, "as the commands set it": chosen, "threads that spin": {}}
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    for name, variables in ways.items():
        alone, threads = seconds_a_step(variables)
        with spinning(busy):
            beside, _ = seconds_a_step(variables)
        print(f"{name} ({threads}): {alone:.3f} s a step, beside {busy} busy process(es) {beside:.3f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
