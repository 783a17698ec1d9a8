# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Learning rates by hand."""

from __future__ import annotations

import pytest
import torch
from recipe_checks import rates

from monai_fss.engines import falling_rate


def falling(steps: int, *more: int) -> list[float]:
    """The rate of each step."""
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.001)
    return rates(optimizer, falling_rate(optimizer, steps, *more), steps)


def test_it_falls_to_0_by_default() -> None:
    assert falling(8) == pytest.approx([0.001 * (1 - step / 8) ** 0.9 for step in range(8)])


def test_it_falls_by_a_tenth_every_few_epochs() -> None:
    assert falling(14, 3, 2) == pytest.approx([0.001] * 6 + [0.0009] * 6 + [0.00081] * 2)


@pytest.mark.parametrize("numbers", [(0, 1, None), (4, 0, None), (4, 1, 0)])
def test_numbers_are_checked(numbers: tuple[int, int, int | None]) -> None:
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.001)
    with pytest.raises(ValueError, match="must be at least 1"):
        falling_rate(optimizer, *numbers)
