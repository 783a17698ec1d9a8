# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A piece is found where it correlates best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_fss.inferers.matching import best_matches


def best_match(template: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, float]:
    """Of one pair."""
    shifts, fits = best_matches(torch.from_numpy(template)[None], torch.from_numpy(region)[None])
    return shifts[0], fits[0]


def test_best_match_by_hand() -> None:
    rng = np.random.default_rng(1)
    region = rng.random((9, 9, 9)).astype(np.float32)
    shift, fit = best_match(2 * region[3:8, 1:6, 2:7] + 0.5, region)
    assert shift.tolist() == [1, -1, 0] and fit == pytest.approx(1, abs=1e-2), "brightness and contrast do not count"
    brute = {}
    template = rng.random((5, 5, 5)).astype(np.float32)
    for i, j, k in np.ndindex(5, 5, 5):
        piece = region[i : i + 5, j : j + 5, k : k + 5]
        brute[(i - 2, j - 2, k - 2)] = float(np.corrcoef(template.ravel(), piece.ravel())[0, 1])
    best = max(brute, key=lambda key: brute[key])
    shift, fit = best_match(template, region)
    assert tuple(shift.tolist()) == best and fit == pytest.approx(brute[best], abs=1e-2)
    for flat in (np.zeros((5, 5, 5), np.float32), np.full((5, 5, 5), 0.7, np.float32)):
        shift, fit = best_match(flat, region)
        assert shift.tolist() == [0, 0, 0] and fit == 0
    assert best_match(template, np.zeros((9, 9, 9), np.float32))[1] == 0


def test_many_are_matched_as_each_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    templates, regions = (torch.rand(70, n, n, n, generator=generator) for n in (3, 7))
    shifts, fits = best_matches(templates, regions)
    for index in (0, 63, 64, 69):
        shift, fit = best_match(templates[index].numpy(), regions[index].numpy())
        assert (shifts[index] == shift).all() and fits[index] == pytest.approx(fit)
    assert len(np.unique(shifts, axis=0)) > 30
