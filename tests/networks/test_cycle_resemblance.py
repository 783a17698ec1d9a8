# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Cycle resemblance on walks that are known, the block against a plain loop, branches, TorchScript."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from monai_fss.networks.blocks import CycleResemblanceAttention, CycleResemblanceBlock, cycle_resemblance
from monai_fss.networks.blocks.cycle_resemblance import _argmax_over_columns, _argmax_over_rows


def directions(*degrees: float) -> torch.Tensor:
    """(1, 2, 1, N) map of unit vectors."""
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()])[None, :, None]


def walk(features: torch.Tensor, other: torch.Tensor, cosine: bool = True) -> list[int]:
    """Where each pixel of (C, N) ends, over (C, M), pixel by pixel."""

    def like(a: torch.Tensor, b: torch.Tensor) -> float:
        return (a @ b / (a.norm() * b.norm() if cosine else 1.0)).item()

    ends = []
    for j in range(features.shape[1]):
        there = max(range(other.shape[1]), key=lambda i: like(features[:, j], other[:, i]))
        ends.append(max(range(features.shape[1]), key=lambda k: like(features[:, k], other[:, there])))
    return ends


def awake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights in the convolutions that start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for block in module.modules():
        if isinstance(block, CycleResemblanceBlock):
            nn.init.normal_(block.out.weight, std=0.3, generator=generator)
    return module


def test_cycles_by_hand() -> None:
    here, there = directions(0, 10, 80), directions(4, 90)
    cosine, end = cycle_resemblance(here, there)
    assert end.tolist() == [[0, 0, 2]]  # 10 degrees walks to 4, from where 0 is nearer
    torch.testing.assert_close(cosine, torch.tensor([[1.0, math.cos(math.radians(10)), 1.0]]))
    cosine, end = cycle_resemblance(there, here)
    assert end.tolist() == [[0, 1]] and cosine.tolist() == [[pytest.approx(1), pytest.approx(1)]]


@pytest.mark.parametrize(("size", "other_size"), [((4, 8), (3, 5)), ((1, 7), (5, 5)), ((2, 3, 4), (2, 2, 2))])
def test_cycles_equal_a_plain_loop(size: tuple[int, ...], other_size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    features, other = torch.randn(2, 3, *size), torch.randn(2, 3, *other_size)
    cosine, end = cycle_resemblance(features, other)
    moved = 0
    for n in range(2):
        flat = features[n].flatten(1)
        ends = walk(flat, other[n].flatten(1))
        assert end[n].tolist() == ends
        torch.testing.assert_close(cosine[n], torch.cosine_similarity(flat, flat[:, ends], dim=0))
        moved += sum(j != e for j, e in enumerate(ends))
    assert moved > 0


def test_a_support_equal_to_the_query_returns_every_pixel_to_itself() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 6, 8, 8) * torch.rand(2, 1, 8, 8).mul(5).exp()  # of very different lengths
    cosine, end = cycle_resemblance(features, features)
    assert torch.equal(end, torch.arange(64).expand(2, -1))
    torch.testing.assert_close(cosine, torch.ones(2, 64))
    block = CycleResemblanceBlock(6, inner_channels=4)
    torch.testing.assert_close(block.weights(features, features), torch.ones(2, 1, 8, 8))


def test_lengths_do_not_draw_walks_as_the_plain_product_of_eq_9_would() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 3, 1, 20)
    lengths = torch.rand(1, 1, 1, 20).mul(5).exp()
    assert torch.equal(
        cycle_resemblance(features, features)[1], cycle_resemblance(lengths * features, lengths * features)[1]
    )
    flat = (lengths * features)[0].flatten(1)
    ends = walk(flat, flat, cosine=False)
    assert len(set(ends)) < 10


def test_of_equal_pixels_the_first_is_taken() -> None:
    cosine, end = cycle_resemblance(torch.ones(1, 2, 8, 8), torch.ones(1, 2, 8, 8))
    assert end.unique().tolist() == [0]
    torch.testing.assert_close(cosine, torch.ones(1, 64))


def test_gradient_through_the_cosine_alone() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    other = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    cosine, end = cycle_resemblance(features, other)
    weight = torch.randn(16, dtype=torch.float64)
    got, none = torch.autograd.grad((cosine[0] * weight).sum(), [features, other], allow_unused=True)
    assert none is None
    flat = features[0].flatten(1)
    expected = (torch.cosine_similarity(flat, flat[:, end[0]], dim=0) * weight).sum()
    torch.testing.assert_close(got, torch.autograd.grad(expected, features)[0])
    assert got.abs().sum() > 0


@pytest.mark.parametrize("shape", [(2, 64, 5), (1, 7, 9), (3, 48, 64)])
def test_argmax_by_blocks(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    assert torch.equal(_argmax_over_rows(matrix), matrix.argmax(1))
    assert torch.equal(_argmax_over_columns(matrix), matrix.argmax(2))
    ties = torch.randint(3, shape).float()
    first = [[row.index(max(row)) for row in rows] for rows in ties.tolist()]
    assert _argmax_over_columns(ties).tolist() == first
    assert _argmax_over_rows(ties.transpose(1, 2).contiguous()).tolist() == first


def test_a_new_block_changes_nothing() -> None:
    x, other = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 3, 4)
    assert torch.equal(CycleResemblanceBlock(6)(x, other), x)


@pytest.mark.parametrize("dims", [2, 3])
def test_block_equals_a_plain_loop(dims: int) -> None:
    torch.manual_seed(0)
    block = awake(CycleResemblanceBlock(4, inner_channels=3, spatial_dims=dims))
    x, other = torch.randn(1, 4, *[3] * dims), torch.randn(1, 4, *[2] * dims)
    compare, embed, out = (m.weight.flatten(1) for m in (block.compare, block.embed, block.out))
    flat = x[0].flatten(1)
    compared = compare @ flat
    ends = walk(compared, compare @ other[0].flatten(1))
    cosine = torch.cosine_similarity(compared, compared[:, ends], dim=0)
    total = sum(math.exp(c) for c in cosine.tolist())
    for j in range(flat.shape[1]):
        weight = math.exp(cosine[j].item()) / total * flat.shape[1]
        assert block.weights(x, other).flatten()[j].item() == pytest.approx(weight, rel=1e-5)
        expected = flat[:, j] + out @ (weight * (embed @ flat[:, j] + block.embed.bias)) + block.out.bias
        torch.testing.assert_close(block(x, other)[0].flatten(1)[:, j], expected, rtol=1e-4, atol=1e-5)


def test_weights_are_one_in_the_mean_whatever_the_number_of_pixels() -> None:
    torch.manual_seed(0)
    block = CycleResemblanceBlock(6)
    for size in (4, 16):
        weights = block.weights(torch.randn(2, 6, size, size), torch.randn(2, 6, 7, 7))
        torch.testing.assert_close(weights.flatten(1).mean(1), torch.ones(2))
        assert weights.min() > math.exp(-2) and weights.max() < math.exp(2) and weights.std() > 0.01


def test_half_the_channels_inside_an_orthogonal_start_and_no_batch_statistics() -> None:
    torch.manual_seed(0)
    block = awake(CycleResemblanceBlock(70))
    compare = block.compare.weight.flatten(1)
    torch.testing.assert_close(compare @ compare.T, torch.eye(35), rtol=0, atol=1e-5)
    x, other = torch.randn(3, 70, 4, 4), torch.randn(3, 70, 4, 4)
    torch.testing.assert_close(block(x, other)[:1], block(x[:1], other[:1]))


def test_every_weight_of_a_block_learns() -> None:
    torch.manual_seed(0)
    block = awake(CycleResemblanceBlock(6))
    block(torch.randn(1, 6, 8, 8), torch.randn(1, 6, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


@pytest.mark.parametrize(
    "bad", [{"channels": 0}, {"channels": 4, "inner_channels": 0}, {"channels": 4, "spatial_dims": 1}]
)
def test_block_checks_its_arguments(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive, spatial_dims"):
        CycleResemblanceBlock(**bad)


def test_two_branches_leave_the_other_kind_of_feature_unchanged() -> None:
    torch.manual_seed(0)
    net = awake(CycleResemblanceAttention(6, blocks=3))
    support, query = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 5, 5)
    z_s, z_q = support, query
    for n in range(3):
        z_s, z_q = net.support_blocks[n](z_s, query), net.query_blocks[n](z_q, support)
    torch.testing.assert_close(net(support, query), (z_s, z_q))
    alone = CycleResemblanceAttention(6, blocks=3, query=False)
    alone.support_blocks.load_state_dict(net.support_blocks.state_dict())
    got = alone(support, query)
    torch.testing.assert_close(got[0], z_s)
    assert torch.equal(got[1], query) and len(alone.query_blocks) == 0


def test_a_single_branch_updates_both_at_once() -> None:
    torch.manual_seed(0)
    one = awake(CycleResemblanceAttention(6, blocks=3, branches=1))
    two = CycleResemblanceAttention(6, blocks=3, branches=2)
    two.load_state_dict(one.state_dict())
    support, query = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 5, 5)
    z_s, z_q = support, query
    for of_support, of_query in zip(one.support_blocks, one.query_blocks, strict=True):
        z_s, z_q = of_support(z_s, z_q), of_query(z_q, z_s)
    got = one(support, query)
    torch.testing.assert_close(got, (z_s, z_q))
    assert not torch.allclose(got[0], two(support, query)[0], atol=1e-3)
    first = [CycleResemblanceAttention(6, blocks=1, branches=n) for n in (1, 2)]
    first[1].load_state_dict(awake(first[0]).state_dict())
    torch.testing.assert_close(first[0](support, query), first[1](support, query))


@pytest.mark.parametrize("branches", [1, 2])
def test_no_block_changes_nothing(branches: int) -> None:
    support, query = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    got = torch.jit.script(CycleResemblanceAttention(4, blocks=0, branches=branches))(support, query)
    assert torch.equal(got[0], support) and torch.equal(got[1], query)


def test_attention_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="blocks 5 must be at least 0 and branches 3 1 or 2"):
        CycleResemblanceAttention(4, branches=3)
    with pytest.raises(ValueError, match="single branch updates support and query together. Choose branches 2"):
        CycleResemblanceAttention(4, branches=1, query=False)


@pytest.mark.parametrize("branches", [1, 2])
def test_scripted_attention_equals_eager(branches: int) -> None:
    torch.manual_seed(0)
    net = awake(CycleResemblanceAttention(6, blocks=2, branches=branches))
    maps = torch.randn(2, 6, 8, 8), torch.randn(2, 6, 8, 8)
    torch.testing.assert_close(torch.jit.script(net)(*maps), net(*maps), rtol=0, atol=0)
