# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Learning rates by hand."""

from __future__ import annotations

import pytest
import torch

from monai_fss.engines import falling_rate


def rates(steps: int, *more: int) -> list[float]:
    """Of each step."""
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.001)
    schedule = falling_rate(optimizer, steps, *more)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_it_falls_to_0_by_default() -> None:
    assert rates(8) == pytest.approx([0.001 * (1 - step / 8) ** 0.9 for step in range(8)])


def test_it_falls_by_a_tenth_every_few_epochs() -> None:
    assert rates(14, 3, 2) == pytest.approx([0.001] * 6 + [0.0009] * 6 + [0.00081] * 2)


@pytest.mark.parametrize("numbers", [(0, 1, None), (4, 0, None), (4, 1, 0)])
def test_numbers_are_checked(numbers: tuple[int, int, int | None]) -> None:
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.001)
    with pytest.raises(ValueError, match="must be at least 1"):
        falling_rate(optimizer, *numbers)
