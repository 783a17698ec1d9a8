# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The small 3-D encoder: sizes, symmetry, counts, scripting, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_fss.networks.nets.compact_encoder_3d import CompactEncoder3D
from monai_fss.networks.nets.factory import build_encoder

SMALL = (2, 4, 6, 8, 10)


@pytest.mark.parametrize("size", [(112, 96, 10), (33, 47, 1), (32, 32, 7), (40, 36, 12), (63, 34, 2)])
def test_half_as_large_in_plane_and_every_slice(size: tuple[int, int, int]) -> None:
    encoder = CompactEncoder3D(in_channels=2, out_channels=7, features=SMALL)
    features = encoder(torch.randn(2, 2, *size))
    assert features.shape == (2, 7, -(-size[0] // 2), -(-size[1] // 2), size[2])
    assert torch.isfinite(features).all()
    assert (encoder.out_channels, encoder.stride, encoder.min_size, encoder.spatial_dims) == (7, (2, 2, 1), 32, 3)


def test_number_of_parameters() -> None:
    assert sum(p.numel() for p in build_encoder("compact_3d").parameters()) == 2_690_632


def test_levels_become_cubes() -> None:
    """Of 128 x 128 x 16 voxels of 2.5 x 2.5 x 7.7 mm: 5 x 5 x 7.7 mm, then 10 x 10 x 7.7, 20 x 20 x 15.4, ..."""
    encoder = CompactEncoder3D(features=SMALL)
    sizes: list[tuple[int, ...]] = []
    for module in (encoder.top, *encoder.downs):
        module.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[2:])))
    encoder(torch.zeros(1, 1, 128, 128, 16))
    assert sizes == [(64, 64, 16), (32, 32, 16), (16, 16, 8), (8, 8, 4)]


def test_grid_is_centred() -> None:
    """Mirrored kernels on a mirrored volume give the mirrored map: no shift anywhere in the network."""
    torch.manual_seed(0)
    encoder, mirrored = CompactEncoder3D(features=SMALL).double(), CompactEncoder3D(features=SMALL).double()
    mirrored.load_state_dict({k: v.flip(2, 3, 4) if v.ndim == 5 else v for k, v in encoder.state_dict().items()})
    volume = torch.randn(1, 1, 64, 48, 8, dtype=torch.float64)
    torch.testing.assert_close(mirrored(volume.flip(2, 3, 4)), encoder(volume).flip(2, 3, 4))


def test_features_of_a_volume_do_not_depend_on_the_batch() -> None:
    encoder = CompactEncoder3D(features=SMALL).train()
    volumes = torch.randn(3, 1, 40, 36, 5)
    torch.testing.assert_close(encoder(volumes)[1:2], encoder(volumes[1:2]))


def test_features_of_a_slice_depend_on_its_neighbours() -> None:
    encoder = CompactEncoder3D(features=SMALL).eval()
    for module in list(encoder.modules()):  # whose statistics are of the whole volume
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm3d):
                setattr(module, name, nn.Identity())
    volume = torch.randn(1, 1, 32, 32, 12, requires_grad=True)
    encoder(volume)[..., 6].sum().backward()
    assert volume.grad is not None
    seen = volume.grad[0, 0].abs().sum((0, 1)) > 0
    assert bool(seen[2:11].all())


def test_every_parameter_learns() -> None:
    encoder = CompactEncoder3D(features=SMALL)
    encoder(torch.randn(2, 1, 37, 41, 6)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_scripted_encoder_computes_the_same() -> None:
    encoder = CompactEncoder3D(features=SMALL).eval()
    volume = torch.randn(1, 1, 51, 45, 7)
    torch.testing.assert_close(torch.jit.script(encoder)(volume), encoder(volume))


def test_other_strides_across_slices() -> None:
    encoder = CompactEncoder3D(features=(2, 4, 6), slice_strides=[3])
    assert encoder(torch.randn(1, 1, 16, 16, 8)).shape == (1, 64, 8, 8, 8)
    assert encoder.min_size == 8


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"31 x 50 pixels are fewer than the encoder's 32 x 32\. Pad or resample"):
        CompactEncoder3D()(torch.zeros(1, 1, 31, 50, 10))
    with pytest.raises(
        ValueError, match=r"features \(8, 8, 8\) and slice_strides \(1, 2, 2\): 3 levels need 1 strides"
    ):
        CompactEncoder3D(features=(8, 8, 8))
    with pytest.raises(ValueError, match=r"features \(8,\) and slice_strides \(\).* Give two or more levels"):
        CompactEncoder3D(features=(8,), slice_strides=())
    with pytest.raises(ValueError, match="compact encoder has no pretrained weights. .* choose resnext101_3d"):
        build_encoder("compact_3d", pretrained="file.pth")
