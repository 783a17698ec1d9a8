# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Local prototypes on grids whose cells are known, and the softmax-weighted similarity against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from monai_fss.networks.blocks import adaptive_local_prototypes, grid_prototypes, softmax_similarity
from monai_fss.networks.blocks import local_prototype as module


def numbered_cells() -> torch.Tensor:
    """(1, 1, 2, 8, 8) features of 4 x 4 cells: the cell's row, and its column."""
    y, x = np.indices((8, 8)) // 2
    return torch.from_numpy(np.stack([y, x]).astype(np.float32))[None, None]


def test_cells_that_the_mask_covers() -> None:
    mask = torch.zeros(1, 1, 1, 16, 16)
    mask[..., 0:8, 4:12] = 1  # rows 0 and 1, columns 1 and 2 of cells of 4 pixels
    mask[..., 8:11, 4:8] = 1  # three quarters of cell (2, 1)
    cells, valid = grid_prototypes(numbered_cells(), mask, (4, 4), 0.95)
    assert cells.shape == (1, 16, 2)
    assert cells[0][valid[0]].tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    _, more = grid_prototypes(numbered_cells(), mask, (4, 4), 0.75)
    assert cells[0][more[0]].tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]], "more than the threshold"
    _, more = grid_prototypes(numbered_cells(), mask, (4, 4), 0.74)
    assert cells[0][more[0]].tolist() == [[0, 1], [0, 2], [1, 1], [1, 2], [2, 1]]


def test_a_pixel_that_is_missing_counts() -> None:
    mask = torch.zeros(1, 1, 1, 32, 32)
    mask[..., 0:8, 0:8] = 1
    mask[..., 1, 2:5] = 0  # 61 of 64 pixels: 0.953
    assert grid_prototypes(numbered_cells(), mask, (4, 4), 0.95)[1].sum() == 1
    mask[..., 2, 3] = 0  # 60 of 64: 0.9375
    assert grid_prototypes(numbered_cells(), mask, (4, 4), 0.95)[1].sum() == 0


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (9, 13), (3, 5)])
def test_a_cell_is_a_mean_whatever_the_size_of_the_map(size: tuple[int, int]) -> None:
    features = torch.randn(2, 2, 3, *size)
    cells, valid = grid_prototypes(features, torch.ones(2, 2, 1, 24, 24), (4, 4), 0.95)
    rows, columns = (min(4, n) for n in size)
    assert cells.shape == (2, 2 * rows * columns, 3) and valid.all()
    for way, shot, i, j in np.ndindex(2, 2, rows, columns):
        (top, bottom), (left, right) = (
            (math.floor(k * n / g), math.ceil((k + 1) * n / g))
            for k, n, g in ((i, size[0], rows), (j, size[1], columns))
        )
        expected = features[way, shot, :, top:bottom, left:right].mean((1, 2))
        torch.testing.assert_close(cells[way, (shot * rows + i) * columns + j], expected)


def test_the_global_prototype_joins_or_stands_in() -> None:
    mask = torch.zeros(3, 1, 1, 8, 8)
    mask[0, ..., 0:4, 0:2] = 1  # cells (0, 0) and (1, 0)
    mask[1, ..., 5, 5] = 1  # fills no cell
    features = numbered_cells().expand(3, -1, -1, -1, -1)
    bank, valid = adaptive_local_prototypes(features, mask, (4, 4), 0.95, always_global=True)
    assert valid.tolist() == [[True, True, True], [True, False, False], [False, False, False]]
    torch.testing.assert_close(bank[0], torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]]), rtol=0, atol=1e-5)
    torch.testing.assert_close(bank[1], torch.tensor([[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]), rtol=0, atol=1e-4)
    bank, valid = adaptive_local_prototypes(features, mask, (4, 4), 0.95, always_global=False)
    assert valid.tolist() == [[True, True], [True, False], [False, False]]
    torch.testing.assert_close(bank[0], torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(bank[1], torch.tensor([[2.0, 2.0], [0.0, 0.0]]), rtol=0, atol=1e-4)


def test_a_mask_that_covers_no_cell_of_the_coarser_grid_has_the_global_prototype_alone() -> None:
    """The published code's rule for the foreground, shot by shot."""
    mask = torch.zeros(1, 2, 1, 8, 8)
    mask[0, 0, :, 0:4, 0:4] = 1  # a cell of 2 x 2, four cells of 4 x 4
    mask[0, 1, :, 2:6, 2:6] = 1  # none of 2 x 2, four of 4 x 4
    features = numbered_cells().expand(1, 2, -1, -1, -1)
    bank, valid = adaptive_local_prototypes(features, mask, (4, 4), 0.95, True, least_grid=(2, 2))
    assert valid.tolist() == [[True] * 5]
    whole = torch.tensor([1.0, 1.0])  # the mean of 0.5 and 1.5
    torch.testing.assert_close(
        bank[0], torch.stack([torch.tensor(c) for c in ([0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0])] + [whole])
    )
    _, valid = adaptive_local_prototypes(features[:, 1:], mask[:, 1:], (4, 4), 0.95, True, least_grid=(2, 2))
    assert valid.tolist() == [[True]]


def test_shots_share_a_bank_and_their_global_prototype_is_the_mean() -> None:
    features = torch.cat([torch.full((1, 1, 1, 4, 4), 1.0), torch.full((1, 1, 1, 4, 4), 5.0)], dim=1)
    mask = torch.zeros(1, 2, 1, 4, 4)
    mask[0, 0, :, :2, :2] = 1  # one cell of a 2 x 2 grid
    mask[0, 1, :, :, :2] = 1  # two cells
    bank, valid = adaptive_local_prototypes(features, mask, (2, 2), 0.95, always_global=True)
    assert valid.all()
    torch.testing.assert_close(bank[0, :, 0], torch.tensor([1.0, 5.0, 5.0, 3.0]), rtol=0, atol=1e-4)
    mask[0, 1] = 0  # padding
    bank, valid = adaptive_local_prototypes(features, mask, (2, 2), 0.95, always_global=True)
    assert valid.tolist() == [[True, True]]
    torch.testing.assert_close(bank[0, :, 0], torch.tensor([1.0, 1.0]), rtol=0, atol=1e-4)


def by_hand(pixel: np.ndarray, bank: np.ndarray, scale: float) -> float:
    d = [scale * float(pixel @ p) / (np.linalg.norm(pixel) * np.linalg.norm(p)) for p in bank]
    weights = np.exp(np.array(d) - max(d))
    return float((weights / weights.sum() * d).sum())


@pytest.mark.parametrize("own", [False, True])
def test_similarity_is_the_softmax_weighted_sum(own: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 4, 5, generator=generator)
    prototypes = torch.randn(2, 3, 6, 3, generator=generator)
    valid = torch.rand(2, 3, 6, generator=generator) > 0.4
    valid[..., 0] = True
    got = softmax_similarity(features, *((prototypes, valid) if own else (prototypes[0], valid[0])), scale=7.0)
    assert got.shape == (2, 3, 4, 5)
    for b, n, y, x in np.ndindex(2, 3, 4, 5):
        row = b if own else 0
        bank = prototypes[row, n][valid[row, n]].numpy()
        assert got[b, n, y, x].item() == pytest.approx(by_hand(features[b, :, y, x].numpy(), bank, 7.0), abs=1e-4)


def test_one_prototype_gives_the_scaled_cosine_and_none_gives_zero() -> None:
    features, prototypes = torch.randn(2, 4, 3, 3), torch.randn(2, 5, 4)
    valid = torch.zeros(2, 5, dtype=torch.bool)
    valid[0, 3] = True
    got = softmax_similarity(features, prototypes, valid)
    expected = 20 * F.cosine_similarity(features, prototypes[0, 3][None, :, None, None], dim=1)
    torch.testing.assert_close(got[:, 0], expected)
    assert torch.equal(got[:, 1], torch.zeros(2, 3, 3))


def test_what_is_padded_has_no_say_and_gets_no_gradient() -> None:
    features, prototypes = torch.randn(1, 4, 3, 3), torch.randn(1, 5, 4)
    valid = torch.tensor([[True, True, False, True, False]])
    one = softmax_similarity(features, prototypes, valid)
    prototypes[0, 2], prototypes[0, 4] = 1e6, float("nan")
    prototypes.requires_grad_()
    two = softmax_similarity(features, prototypes, valid)
    assert torch.equal(one, two)
    two.sum().backward()
    assert torch.equal(prototypes.grad[0, 2], torch.zeros(4)) and prototypes.grad[0, [0, 1, 3]].abs().sum() > 0


def test_a_large_bank_is_compared_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of prototypes: the products of each part stay below 16 MB."""
    features, prototypes = torch.randn(1, 2, 40, 40), torch.randn(1, 5000, 2)
    sizes, product = [], module.full_bmm
    monkeypatch.setattr(module, "full_bmm", lambda a, b: sizes.append(a.shape[1] * b.shape[2]) or product(a, b))
    got = softmax_similarity(features, prototypes, torch.ones(1, 5000, dtype=torch.bool))
    assert len(sizes) == 2 and max(sizes) <= 2**22
    cosine = torch.einsum("pc,cyx->pyx", F.normalize(prototypes[0], dim=1), F.normalize(features[0], dim=0))
    distance = 20 * cosine
    torch.testing.assert_close(got[0, 0], (torch.softmax(distance, 0) * distance).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_an_exported_graph_computes_the_same(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, without a loop over the batch or a choice by what is valid; an empty bank gives 0 there too."""
    features, prototypes = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 6, 3)
    valid = torch.rand(2, 3, 6) > 0.4
    valid[:, 1] = False
    arguments = (features, *((prototypes, valid) if own else (prototypes[0], valid[0])))
    expected = softmax_similarity(*arguments, scale=7.0)
    monkeypatch.setattr(module, "exporting", lambda: True)
    torch.testing.assert_close(softmax_similarity(*arguments, scale=7.0), expected, rtol=0, atol=1e-5)
    assert not softmax_similarity(*arguments)[:, 1].any()
