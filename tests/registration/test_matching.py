# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Dense matching: known shifts, and what importing convexAdam must not do."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
import torch.nn.functional as F

from monai_fss.registration import match
from monai_fss.registration.matching import convex_adam, features


def texture(*shape: int) -> torch.Tensor:
    noise = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    return F.avg_pool3d(noise, 3, stride=1, padding=1)[0, 0]


@pytest.mark.parametrize("shift", [(4, 0, 0), (0, -4, 0), (2, 4, -2)])
def test_a_shift_by_voxels_is_found(shift: tuple[int, int, int]) -> None:
    fixed = texture(30, 32, 28)
    moving = torch.roll(fixed, shift, (0, 1, 2))  # what is at x in fixed is at x + shift in moving
    found = match(fixed, moving, 2, 3)
    assert found.shape == (3, 15, 16, 14)
    inner = found[:, 4:-4, 4:-4, 4:-4]
    torch.testing.assert_close(
        inner, torch.tensor(shift).reshape(3, 1, 1, 1).expand_as(inner).float(), atol=0.5, rtol=0
    )


def test_there_are_three_cells_at_least_along_each_axis() -> None:
    assert features(texture(31, 12, 3), 3).shape == (1, 12, 10, 4, 3)
    thin = texture(24, 24, 3)
    found = match(thin, thin, 3, 2)
    assert torch.isfinite(found).all() and float(found.abs().max()) < 0.3


def test_warnings_stay_on_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """convexAdam is imported as if for the first time."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "convexAdam"]:
        monkeypatch.delitem(sys.modules, name)
    convex_adam.cache_clear()
    before = list(warnings.filters)
    for name in ("convex_adam_utils", "convex_adam_MIND"):
        convex_adam(name)
    assert warnings.filters == before and "convexAdam" in sys.modules
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match(texture(8, 8, 8), texture(8, 8, 8), 2, 1)
    assert capsys.readouterr().out == ""


def test_a_missing_package_is_named_with_its_remedy() -> None:
    with pytest.raises(ImportError, match="Registration needs it: pip install convexAdam"):
        convex_adam("no_such_module")
