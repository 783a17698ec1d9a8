# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Comparisons stay in single precision under automatic mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from monai_fss.networks.blocks import cosine_similarity, cycle_resemblance, full_bmm, softmax_similarity
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
