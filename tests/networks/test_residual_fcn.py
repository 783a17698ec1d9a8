# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The residual FCN: how many weights it has, which sizes it takes, and what happens on the way up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from monai_fss.networks.nets import ResidualFCN

AUTHORS: dict[str, Any] = {"filters": (16, 64, 128, 256, 512), "strides": (1, 2, 2, 2, 1), "units": 3}
COMPACT: dict[str, Any] = {"filters": (16, 32, 64, 128), "strides": (1, 2, 2, 2), "units": 1}
TINY: dict[str, Any] = {"filters": (4, 6, 8), "strides": (1, 2, 2), "units": 1, "bfloat16": False}


def expected(inputs: int, classes: int, filters: tuple[int, ...], strides: tuple[int, ...], units: int) -> int:
    """Weights of convolutions, and two for each channel of a norm."""
    total = 27 * inputs * filters[0]
    for before, after, stride in zip(filters, filters[1:], strides[1:], strict=False):
        width = 3 if stride == 1 else 2 * stride
        total += 2 * before + width**3 * before * after + 2 * after + 27 * after * after
        total += (units - 1) * 2 * (2 * after + 27 * after * after)
        total += before * classes + 2 * classes
    return total + filters[-1] * classes + classes * classes


@pytest.mark.parametrize("settings", [AUTHORS, COMPACT], ids=["authors", "compact"])
@pytest.mark.parametrize(("inputs", "classes"), [(1, 19), (2, 2)])
def test_number_of_weights(settings: dict[str, Any], inputs: int, classes: int) -> None:
    net = ResidualFCN(inputs, classes, **settings)
    count = sum(weight.numel() for weight in net.parameters())
    assert count == expected(inputs, classes, **settings)
    convolutions = sum(weight.numel() for weight in net.parameters() if weight.ndim > 1)
    assert round(convolutions / 1e6, 1) == (53.2 if settings is AUTHORS else 1.3)


@pytest.mark.parametrize("size", [(8, 8, 8), (9, 7, 13), (1, 2, 3)])
def test_logits_have_the_size_of_the_image(size: tuple[int, ...]) -> None:
    net = ResidualFCN(2, 3, **TINY).eval()
    image = torch.rand(2, 2, *size)
    logits = net(image)
    assert logits.shape == (2, 3, *size) and bool(torch.isfinite(logits).all())
    torch.testing.assert_close(torch.jit.script(net)(image), logits, rtol=0, atol=1e-5)


def test_a_strided_convolution_is_that_of_the_padded_image() -> None:
    """5 voxels at a stride of 2 are 3: windows of 4 from -1, 1 and 3."""
    conv = ResidualFCN(1, 2, **TINY).scales[0][0].conv1  # type: ignore[index,union-attr]
    features = torch.rand(1, 4, 5, 5, 5)
    padded = F.pad(features, [1, 2] * 3)
    torch.testing.assert_close(conv(features), F.conv3d(padded, conv.conv.weight, stride=2))
    assert conv(features).shape[2:] == (3, 3, 3)


def test_the_shortcut_is_the_maximum_and_zeros() -> None:
    unit = ResidualFCN(1, 2, **TINY).scales[0][0]  # type: ignore[index]
    torch.nn.init.zeros_(unit.conv2.conv.weight)
    features = torch.rand(1, 4, 4, 4, 4)
    out = unit(features)
    assert torch.equal(out[:, 1:5], F.max_pool3d(features, 2)) and not out[:, [0, 5]].any()


def test_scores_are_enlarged_and_those_of_each_scale_added() -> None:
    """Against a plain computation from the features of each scale."""
    net = ResidualFCN(1, 2, **TINY).eval()
    image = torch.rand(1, 1, 12, 12, 12)
    first = net.first(image)
    second = net.scales[0](first)
    third = net.scales[1](second)
    up = {"scale_factor": 2.0, "mode": "trilinear", "align_corners": False}
    scores = F.interpolate(net.score(third), **up) + net.projections[0](second)
    scores = F.interpolate(scores, **up) + net.projections[1](first)
    torch.testing.assert_close(net(image), net.last(scores))


def test_two_images_together_are_each_as_alone() -> None:
    """Group norm has no statistics of a batch: several processes equal one."""
    net = ResidualFCN(1, 2, **TINY).train()
    images = torch.rand(2, 1, 8, 8, 8)
    torch.testing.assert_close(net(images), torch.cat([net(images[:1]), net(images[1:])]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strides": (1, 2)}, "give as many of each"),
        ({"units": 0}, "give 1 or more"),
        ({"filters": (8, 4, 8)}, "fewer than the one before"),
        ({"norm": "layer"}, "must be one of group, batch"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResidualFCN(1, 2, **{**TINY, **changed})
