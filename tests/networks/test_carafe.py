# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CARAFE++ against a plain loop, on kernels that are known, its memory, TorchScript."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from monai_fss.networks.blocks import CarafeDownsample, CarafeUpsample, reassemble_down, reassemble_up


def random_kernels(*shape: int) -> torch.Tensor:
    return torch.softmax(torch.randn(*shape), dim=1)


def neighbourhood_mean(features: np.ndarray, kernel: np.ndarray, y: int, x: int) -> np.ndarray:
    """Sum of kernel (k^2,) times features (C, H, W) around (y, x); beyond the border its last value."""
    size = int(len(kernel) ** 0.5)
    height, width = features.shape[1:]
    total = np.zeros(features.shape[0])
    for n, weight in enumerate(kernel):
        row, column = y + n // size - size // 2, x + n % size - size // 2
        total += weight * features[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return total


@pytest.mark.parametrize(("size", "k", "factor"), [((8, 8), 5, 4), ((7, 10), 3, 2), ((5, 6), 5, 3)])
def test_downward_equals_a_plain_loop(size: tuple[int, int], k: int, factor: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size)
    kernels = random_kernels(2, k * k, *(-(-n // factor) for n in size))
    got = reassemble_down(features, kernels, factor)
    assert got.shape == (2, 3, *kernels.shape[2:])
    for b, y, x in np.ndindex(2, *kernels.shape[2:]):
        middle = (factor * y + factor // 2, factor * x + factor // 2)
        expected = neighbourhood_mean(features[b].numpy(), kernels[b, :, y, x].numpy(), *middle)
        np.testing.assert_allclose(got[b, :, y, x].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "k", "factor"), [((4, 4), 5, 2), ((3, 5), 3, 4)])
def test_upward_equals_a_plain_loop(size: tuple[int, int], k: int, factor: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size)
    kernels = random_kernels(2, k * k, *(n * factor for n in size))
    got = reassemble_up(features, kernels, factor)
    for b, y, x in np.ndindex(2, *kernels.shape[2:]):
        expected = neighbourhood_mean(features[b].numpy(), kernels[b, :, y, x].numpy(), y // factor, x // factor)
        np.testing.assert_allclose(got[b, :, y, x].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_kernel_of_one_picks_the_middle_of_each_cell_upward_repeats_it() -> None:
    features = torch.randn(1, 2, 32, 32)
    one = torch.zeros(1, 25, 8, 8)
    one[:, 12] = 1
    assert torch.equal(reassemble_down(features, one, 4), features[..., 2::4, 2::4])
    one = torch.zeros(1, 25, 64, 64)
    one[:, 12] = 1
    assert torch.equal(reassemble_up(features, one, 2), features.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("kind", [CarafeDownsample, CarafeUpsample])
def test_a_constant_map_stays_constant_up_to_the_border(kind: type) -> None:
    torch.manual_seed(0)
    module = kind(3)
    nn.init.normal_(module.encode.weight)
    values = torch.tensor([1.0, -2.0, 5.0]).reshape(1, 3, 1, 1)
    got = module(values.expand(1, 3, 9, 12))
    torch.testing.assert_close(got, values.expand_as(got))


@pytest.mark.parametrize(("kind", "shape"), [(CarafeDownsample, (8, 8)), (CarafeUpsample, (64, 64))])
def test_modules_predict_a_softmax_for_every_output_pixel(kind: type, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module, features = kind(6), torch.randn(2, 6, 32, 32)
    kernels = module.kernels(features)
    assert kernels.shape == (2, 25, *shape) and module(features).shape == (2, 6, *shape)
    torch.testing.assert_close(kernels.sum(1), torch.ones(2, *shape))
    assert (kernels - 1 / 25).abs().max() < 0.01  # a mean filter at first
    nn.init.normal_(module.encode.weight)
    kernels = module.kernels(features)
    assert kernels.max() > 0.5  # and what the content asks for then
    reassemble = reassemble_down if kind is CarafeDownsample else reassemble_up
    assert torch.equal(module(features), reassemble(features, kernels, module.factor))


def test_kernels_are_predicted_from_the_place_they_are_used_at() -> None:
    torch.manual_seed(0)
    for module in (CarafeDownsample(4), CarafeUpsample(4, factor=4)):
        nn.init.normal_(module.encode.weight)
        features = torch.randn(1, 4, 32, 32)
        before = module.kernels(features)
        features[:, :, 18, 10] += 1  # the middle of cell (4, 2) of 4 x 4 pixels
        changed = (module.kernels(features) != before).any(1)[0].nonzero()
        if isinstance(module, CarafeDownsample):
            assert changed.tolist() == [[4, 2]]
        else:  # 3 x 3 pixels of 4 x 4 each
            assert changed.min(0).values.tolist() == [17 * 4, 9 * 4] and len(changed) == 144


class Largest(TorchDispatchMode):
    """The numbers in the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.untyped_storage().nbytes() // value.element_size())
        return result


@pytest.mark.parametrize("kind", [CarafeDownsample, CarafeUpsample])
def test_memory_is_linear_in_the_pixels(kind: type) -> None:
    module, largest = kind(8), []
    for size in (32, 64, 128):
        with Largest() as mode:
            module(torch.randn(1, 8, size, size)).sum().backward()
        largest.append(mode.numbers / size**2)
    assert largest[0] == pytest.approx(largest[2], rel=0.3) and largest[1] == pytest.approx(largest[2], rel=0.15)
    assert largest[2] < 1.1 * (64 if kind is CarafeDownsample else 8 * 25)


def test_gradients() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    down = torch.randn(1, 9, 2, 3, dtype=torch.float64, requires_grad=True)
    up = torch.randn(1, 9, 8, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, k: reassemble_down(f, k, 2), (features, down))
    assert torch.autograd.gradcheck(lambda f, k: reassemble_up(f, k, 2), (features, up))


@pytest.mark.parametrize("kind", [CarafeDownsample, CarafeUpsample])
def test_scripted_module_equals_eager(kind: type) -> None:
    module, features = kind(6), torch.randn(2, 6, 13, 16)
    assert torch.equal(torch.jit.script(module)(features), module(features))


@pytest.mark.parametrize("bad", [{"kernel_size": 4}, {"encoder_size": 2}, {"factor": 0}, {"compressed": 0}])
@pytest.mark.parametrize("kind", [CarafeDownsample, CarafeUpsample])
def test_arguments_are_checked(kind: type, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive, kernel_size .* odd"):
        kind(4, **bad)
