# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Windows of a support volume: every labelled voxel counts once, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from monai_fss.networks.blocks import label_windows
from monai_fss.networks.nets import ADNet, CompactEncoder3D


class Values(nn.Module):
    """Features are the volume's channels."""

    out_channels, spatial_dims = 3, 3

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape[2:]))
        return x


def random_mask(seed: int, shape: tuple[int, int, int] = (9, 14, 30)) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape)
    low = [int(rng.integers(0, n - 1)) for n in shape]
    high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, shape, strict=True)]
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = (
        rng.random([b - a for a, b in zip(low, high, strict=True)]) > 0.5
    )
    mask[tuple(low)] = 1
    return torch.from_numpy(mask).float()


@pytest.mark.parametrize("size", [(9, 14, 30), (20, 20, 40), (9, 14, 7), (4, 5, 6), (3, 3, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_each_voxel_belongs_to_one_window(seed: int, size: tuple[int, int, int]) -> None:
    mask, total = random_mask(seed), torch.zeros(9, 14, 30)
    windows = label_windows(mask, size)
    for window, own in windows:
        assert [w.stop - w.start for w in window] == [min(n, most) for n, most in zip(mask.shape, size, strict=True)]
        assert all(w.start >= 0 and w.stop <= n for w, n in zip(window, mask.shape, strict=True))
        assert own.any()
        total[window] += own
    assert torch.equal(total, mask)
    extents = [int(mask.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().diff().sum()) + 1 for axis in range(3)]
    fewest = [1 if n <= most else -(-e // most) for n, most, e in zip(mask.shape, size, extents, strict=True)]
    assert 1 <= len(windows) <= np.prod(fewest)


def test_windows_by_hand() -> None:
    mask = torch.zeros(8, 8, 50)
    mask[2, 2, 3:29] = 1  # 26 slices need two windows of 20; their pieces are 3 to 15 and 16 to 28
    found = [(window[2].start, window[2].stop, int(own.sum())) for window, own in label_windows(mask, (8, 8, 20))]
    assert found == [(0, 20, 13), (12, 32, 13)]
    mask = torch.zeros(8, 8, 50)
    mask[2, 2, 49] = 1
    assert [w[2] for w, _ in label_windows(mask, (8, 8, 20))] == [slice(30, 50)], "within the volume"
    assert label_windows(torch.zeros(4, 4, 4), (2, 2, 2)) == []


@torch.no_grad()
@pytest.mark.parametrize("window", [(8, 8, 20), (3, 5, 4), (8, 8, 1)])
def test_the_prototype_is_the_mean_over_all_labelled_voxels(window: tuple[int, int, int]) -> None:
    """A thin tail counts by its voxels, not as much as the body of an organ."""
    image = torch.rand(1, 1, 3, 8, 8, 60, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(2, 1, 1, 8, 8, 60)
    label[0, ..., 2:22] = 1
    label[0, :, :, 4, 4, 22:42] = 1
    label[1, :, :, 1:3, 2:7, 30:33] = 1
    image = image.expand(2, -1, -1, -1, -1, -1)
    net = ADNet(Values(), support_window=window).eval().condition(image, label)
    for way in range(2):
        expected = image[way, 0][:, label[way, 0, 0] > 0].mean(1)
        torch.testing.assert_close(net.prototypes[way], expected, rtol=1e-4, atol=1e-5)
    assert set(net.encoder.shapes) == {window}


@torch.no_grad()
def test_scans_count_alike_however_many_windows_they_need() -> None:
    image, label = torch.zeros(1, 2, 3, 8, 8, 24), torch.zeros(1, 2, 1, 8, 8, 24)
    image[:, 1] = 1
    label[:, 0, ..., 4:6] = 1
    label[:, 1] = 1
    net = ADNet(Values(), support_window=(8, 8, 12)).eval().condition(image, label)
    torch.testing.assert_close(net.prototypes, torch.full((1, 3), 0.5), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_slice_by_slice_a_slice_has_no_neighbours() -> None:
    """The published code's one labelled slice; by default the whole scan is seen."""
    torch.manual_seed(0)
    encoder = CompactEncoder3D(features=(4, 4, 6, 8, 10), out_channels=8)
    image, label = torch.rand(1, 1, 1, 32, 32, 12), torch.zeros(1, 1, 1, 32, 32, 12)
    label[..., 8:20, 8:20, 5] = 1
    whole = ADNet(encoder).eval().condition(image, label).prototypes
    alone = ADNet(encoder, support_window=(256, 256, 1)).eval().condition(image, label).prototypes
    single = ADNet(encoder).eval().condition(image[..., 5:6], label[..., 5:6]).prototypes
    torch.testing.assert_close(alone, single)
    assert not torch.allclose(whole, alone, rtol=1e-2)


def test_a_window_has_three_sides() -> None:
    with pytest.raises(ValueError, match=r"support_window must be \(H, W, slices\), each at least 1, got \(8, 8\)"):
        ADNet(Values(), support_window=(8, 8))
