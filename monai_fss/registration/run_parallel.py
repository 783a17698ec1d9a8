# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Several registrations at once, each on one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from .body import RegistrationError
from .matching import quiet

__all__ = ["run_parallel"]

Result = TypeVar("Result")


def run_parallel(tasks: Sequence[Callable[[], Result]], workers: int | None = None) -> list[Result | RegistrationError]:
    """Run registrations beside one another.

    One registration is little faster on two threads than on one, since most of its steps are short; two of them, each
    on a thread of its own, are. One alone has one thread too: where two displacements fit equally well, sums in another
    order choose the other one, and masks must not depend on the machine, nor on what else was asked for.

    Args:
        tasks: functions without arguments.
        workers: how many run at once. Default: ``torch.get_num_threads()``.

    Returns:
        what each task returned, in the same order, or the RegistrationError that it raised. Other errors are raised.
    """
    threads = torch.get_num_threads()
    count = max(1, min(len(tasks), threads if workers is None else workers))
    # Threads share warning filters and random numbers, and each registration puts back what it found: not in order.
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            with ThreadPoolExecutor(count, "registration", torch.set_num_threads, (1,)) as pool:
                return list(pool.map(_outcome, tasks))
        finally:
            torch.set_num_threads(threads)


def _outcome(task: Callable[[], Result]) -> Result | RegistrationError:
    try:
        return task()
    except RegistrationError as error:
        return error
