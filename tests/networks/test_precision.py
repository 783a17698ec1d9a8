# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Comparisons stay in single precision under automatic mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from monai_fss.networks.blocks import (
    autocast_bfloat16,
    cosine_similarity,
    cycle_resemblance,
    full_bmm,
    softmax_similarity,
)
from monai_fss.networks.nets.positioned_encoder import PositionedEncoder


def walk(features: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return cycle_resemblance(features, other)


def cosine(features: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return (cosine_similarity(features, other.flatten(2)[:, :, :5].transpose(1, 2)),)


def similarity(features: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
    bank = other.flatten(2)[:, :, :6].transpose(1, 2)
    return (softmax_similarity(features, bank[0][None], torch.ones(1, 6, dtype=torch.bool)),)


@pytest.mark.parametrize("compare", [walk, cosine, similarity])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(compare: Callable[..., tuple[torch.Tensor, ...]], dtype: torch.dtype) -> None:
    """Neighbours in a smooth map differ by less than half precision can tell: walks would end elsewhere."""
    torch.manual_seed(0)
    smooth = nn.functional.interpolate(
        torch.randn(2, 2, 8, 4, 4), size=(4, 32, 32), mode="trilinear", align_corners=True
    )
    features, other = smooth[:, 0], smooth[:, 1]
    expected = compare(features, other)
    with torch.autocast("cpu", dtype=dtype):
        got = compare(features, other)
        assert not torch.equal(torch.bmm(features[0], other[0]).float(), full_bmm(features[0], other[0]))
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_of_zeros_in_half_precision(dtype: torch.dtype) -> None:
    """Half precision rounds the bound of a norm to 0."""
    zeros = torch.zeros(1, 3, 4, 4, dtype=dtype)
    assert torch.equal(cosine_similarity(zeros, torch.ones(1, 3, dtype=dtype)), torch.zeros(1, 1, 4, 4))
    valid = torch.ones(1, 1, dtype=torch.bool)
    assert torch.equal(softmax_similarity(zeros, torch.ones(1, 1, 3, dtype=dtype), valid), torch.zeros(1, 1, 4, 4))
    assert torch.equal(cycle_resemblance(zeros, zeros)[0], torch.zeros(1, 16))
    encoder = nn.Module()
    encoder.out_channels = 3
    encoder.forward = lambda image: torch.zeros(1, 3, 4, 4, dtype=dtype)  # type: ignore[method-assign]
    assert torch.isfinite(PositionedEncoder(encoder, [0.5])(torch.rand(1, 2, 4, 4))).all()


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        (3, 2, (4, 6, 2)),
        (3, 2, (3, 4, 1)),
        (3, (1, 1, 2), (12, 12, 2)),
        (4, 2, (8, 8, 2)),
        (3, 2, (6, 6, 5)),
        (3, 1, (6, 6, 1)),
    ],
)
def test_strided_convolutions_are_right_in_bfloat16(kernel: int, stride: int, size: tuple[int, ...]) -> None:
    """With AMX, PyTorch 2.13 finds numbers that have nothing to do with those of the first four."""
    torch.manual_seed(0)
    conv = nn.Conv3d(8, 16, kernel, stride, padding=1)
    images, weight = torch.rand(2, 8, *size), torch.rand(16, 1, 1, 1)
    found = []
    for half in (False, True):
        conv.zero_grad()
        _ = torch.full((50, 1000), float("nan"))  # in the memory that is handed out next
        del _
        with autocast_bfloat16("cpu") if half else nullcontext():
            result = conv(images)
        assert result.dtype == (torch.bfloat16 if half else torch.float32)
        (result.float() * weight).sum().backward()
        found.append((result.detach().float(), *(p.grad.clone() for p in conv.parameters() if p.grad is not None)))
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()


def test_strides_by_name() -> None:
    images, weight = torch.rand(1, 4, 4, 6, 2), torch.rand(8, 4, 3, 3, 3)
    exact = nn.functional.conv3d(images, weight, stride=2, padding=1)
    with autocast_bfloat16("cpu"):
        rounded = nn.functional.conv3d(images, weight=weight, stride=2, padding=1)
    assert rounded.dtype == torch.bfloat16
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max()
