# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registrations beside one another: the same fields, errors kept apart, and no trace left."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from registration_scenes import scan

from monai_fss.registration import RegistrationError, register, run_parallel


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_fields_of_one_thread_and_no_trace() -> None:
    one, other = (scan(seed, (32, 32, 22), (10, 10, 10))[0] for seed in (0, 1))
    settings: dict[str, Any] = {"preset": "fast", "spacing": (10, 10, 10), "starts": 1}
    tasks = [partial(register, a, b, **settings) for a, b in ((one, other), (other, one))]
    torch.manual_seed(0)
    state, filters = torch.get_rng_state(), list(warnings.filters)
    there, back = run_parallel(tasks)
    assert torch.equal(torch.get_rng_state(), state) and warnings.filters == filters and torch.get_num_threads() == 2
    alone = run_parallel(tasks[:1])[0]
    torch.set_num_threads(1)
    for found, task in zip((there, back), tasks, strict=True):
        assert torch.equal(found.data, task().data)
    assert torch.equal(alone.data, there.data), "nor does it depend on what runs beside it"


def test_they_run_at_once() -> None:
    barrier = threading.Barrier(2, timeout=20)
    places = run_parallel([barrier.wait, barrier.wait])
    assert sorted(places) == [0, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_registration_that_fails_does_not_stop_the_others(workers: int) -> None:
    def fail() -> int:
        raise RegistrationError("no overlap")

    first, second, third = run_parallel([lambda: 1, fail, lambda: 3], workers)
    assert (first, third) == (1, 3) and isinstance(second, RegistrationError) and str(second) == "no overlap"
    with pytest.raises(ZeroDivisionError):
        run_parallel([lambda: 1, lambda: 1 // 0], workers)
