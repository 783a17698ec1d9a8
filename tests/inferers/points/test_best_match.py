# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A piece is found where it correlates best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_fss.inferers.points.correlation import best_matches


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


def cut(cube: np.ndarray, first: tuple[int, int, int], end: tuple[int, int, int]) -> np.ndarray:
    """NaN outside a box."""
    kept = np.full_like(cube, np.nan)
    box = tuple(slice(a, b) for a, b in zip(first, end, strict=True))
    kept[box] = cube[box]
    return kept


def test_what_one_of_both_does_not_show_is_not_compared() -> None:
    rng = np.random.default_rng(2)
    template = cut(rng.random((5, 5, 5)).astype(np.float32), (0, 0, 0), (5, 4, 3))
    region = cut(rng.random((9, 9, 9)).astype(np.float32), (4, 0, 3), (9, 7, 9))
    brute = {}
    for i, j, k in np.ndindex(5, 5, 5):
        piece = region[i : i + 5, j : j + 5, k : k + 5]
        both = ~np.isnan(piece) & ~np.isnan(template)
        if both.sum() >= 0.3 * 60:
            brute[(i - 2, j - 2, k - 2)] = float(np.corrcoef(template[both], piece[both])[0, 1])
    best = max(brute, key=lambda key: brute[key])
    shift, fit = best_match(template, region)
    assert tuple(shift.tolist()) == best and fit == pytest.approx(brute[best], abs=1e-2)
    assert len(brute) < 125, "some shifts show too little"


def test_the_end_of_a_scan_is_no_landmark() -> None:
    """The template was cut at its scan's end, the region shows what lies beyond."""
    rng = np.random.default_rng(3)
    region = rng.random((13, 13, 13)).astype(np.float32)
    template = region[4:11, 2:9, 5:12].copy()
    shift, fit = best_match(cut(template, (0, 0, 0), (7, 7, 4)), region)
    assert shift.tolist() == [1, -1, 2] and fit == pytest.approx(1, abs=1e-2)
    nothing = np.full((7, 7, 7), np.nan, np.float32)
    assert best_match(nothing, region)[1] == 0 and best_match(template, np.full_like(region, np.nan))[1] == 0
