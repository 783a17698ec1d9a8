# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Encoders: sizes, symmetry, counts, scripting, and dilation against the strided network."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

from monai_fss.networks.nets.compact_encoder import CompactEncoder
from monai_fss.networks.nets.dilated_resnet import BLOCKS, PLANES, DilatedResNet

SMALL = (4, 6, 8, 10)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("size", [(128, 128), (100, 84), (33, 47), (32, 32), (63, 130)])
def test_compact_is_half_as_large_rounded_up(size: tuple[int, int]) -> None:
    encoder = CompactEncoder(in_channels=2, out_channels=7, features=(4, 4, 6, 8, 10))
    features = encoder(torch.randn(2, 2, *size))
    assert features.shape == (2, 7, -(-size[0] // 2), -(-size[1] // 2))
    assert torch.isfinite(features).all()
    assert (encoder.out_channels, encoder.stride, encoder.min_size) == (7, 2, 32)


def test_compact_has_the_documented_number_of_parameters() -> None:
    assert count(CompactEncoder()) == 1_937_952


def test_compact_grid_is_centred() -> None:
    """Mirrored kernels on a mirrored image give the mirrored map: no half-pixel shift anywhere in the network."""
    torch.manual_seed(0)
    encoder, mirrored = CompactEncoder(features=SMALL).double(), CompactEncoder(features=SMALL).double()
    mirrored.load_state_dict({k: v.flip(2, 3) if v.ndim == 4 else v for k, v in encoder.state_dict().items()})
    image = torch.randn(1, 1, 64, 48, dtype=torch.float64)
    torch.testing.assert_close(mirrored(image.flip(2, 3)), encoder(image).flip(2, 3))


def test_compact_features_of_an_image_do_not_depend_on_the_batch() -> None:
    encoder = CompactEncoder(features=SMALL).train()
    images = torch.randn(3, 1, 40, 36)
    torch.testing.assert_close(encoder(images)[1:2], encoder(images[1:2]))


@pytest.mark.parametrize(("pixel", "pixels"), [(80, 186), (83, 202), (87, 186)])
def test_compact_context_is_about_190_pixels(pixel: int, pixels: int) -> None:
    encoder = CompactEncoder(out_channels=1, features=(1, 2, 2, 2, 2)).double()
    for module in list(encoder.modules()):  # positive averages only: no gradient inside the field of view is zero
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(2))
    for parameter in encoder.parameters():
        nn.init.constant_(parameter, 0.5)
    image = torch.ones(1, 1, 320, 320, dtype=torch.float64, requires_grad=True)
    encoder(image)[0, 0, pixel, 80].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].ne(0).any(dim=1).nonzero()
    assert int(seen.max() - seen.min()) + 1 == pixels


def test_every_compact_parameter_learns() -> None:
    encoder = CompactEncoder(features=SMALL)
    encoder(torch.randn(2, 1, 37, 41)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_compact_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"31 x 50 pixels are fewer than the encoder's 32 x 32\. Pad or resample"):
        CompactEncoder()(torch.zeros(1, 1, 31, 50))
    with pytest.raises(ValueError, match=r"features: \(8,\) has fewer than two levels\. Give two or more"):
        CompactEncoder(features=(8,))


@pytest.mark.parametrize("encoder", [CompactEncoder(features=SMALL), DilatedResNet(18, 1), DilatedResNet(50, 1, None)])
def test_scripted_encoder_computes_the_same(encoder: nn.Module) -> None:
    encoder.eval()
    image = torch.randn(1, 1, 51, 45)
    torch.testing.assert_close(torch.jit.script(encoder)(image), encoder(image))


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_176_512), (50, 23_508_032), (101, 42_500_160)])
def test_resnet_body_has_the_published_number_of_parameters(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        encoder = DilatedResNet(depth, out_channels=None)
    assert count(encoder) == parameters
    assert encoder.out_channels == (512 if depth == 18 else 2048)


def test_resnet_101_state_is_torchvisions() -> None:
    with torch.device("meta"):
        encoder = DilatedResNet()
    names = set(encoder.state_dict())
    assert len(names) == 625 and "reduce.weight" in names
    assert encoder.reduce.weight.shape == (256, 2048, 1, 1)
    assert {"conv1.weight", "bn1.running_mean", "layer3.22.conv3.weight", "layer4.0.downsample.1.bias"} <= names


def test_resnet_dilations_are_torchvisions() -> None:
    with torch.device("meta"):
        encoder = DilatedResNet(101)
    for stage, first, others in ((encoder.layer2, 1, 1), (encoder.layer3, 1, 2), (encoder.layer4, 2, 4)):
        convolutions = [block.conv2 for block in stage]
        assert [conv.dilation[0] for conv in convolutions] == [first] + [others] * (len(stage) - 1)
        assert all(conv.padding == conv.dilation for conv in convolutions)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("size", [(96, 64), (75, 101)])
def test_dilated_maps_hold_the_strided_networks_maps(depth: int, size: tuple[int, int]) -> None:
    """Every second pixel of layer3 and every fourth of layer4, borders included, is the ordinary ResNet's."""
    torch.manual_seed(0)
    block, layers = BLOCKS[depth]
    dilated = DilatedResNet(depth, in_channels=1, out_channels=None).double().eval()
    strided = ResNet(block, layers, PLANES, 2, 1, conv1_t_stride=2, feed_forward=False, bias_downsample=False)
    strided.double().eval().load_state_dict(dilated.state_dict())
    maps: dict[str, torch.Tensor] = {}
    for name in ("layer3", "layer4"):
        for network in (dilated, strided):
            key = f"{name}{network is dilated}"
            getattr(network, name).register_forward_hook(lambda _m, _i, out, key=key: maps.update({key: out}))
    image = torch.randn(1, 1, *size, dtype=torch.float64)
    features = dilated(image)
    strided(image)
    assert features.shape[2:] == (-(-size[0] // 8), -(-size[1] // 8))
    torch.testing.assert_close(features, maps["layer4True"])
    torch.testing.assert_close(maps["layer3True"][..., ::2, ::2], maps["layer3False"])
    torch.testing.assert_close(maps["layer4True"][..., ::4, ::4], maps["layer4False"])


def test_resnet_reduction_is_a_matrix_product_of_the_body() -> None:
    encoder = DilatedResNet(18, in_channels=1, out_channels=5).eval()
    body = DilatedResNet(18, in_channels=1, out_channels=None).eval()
    body.load_state_dict({k: v for k, v in encoder.state_dict().items() if k != "reduce.weight"})
    image = torch.randn(2, 1, 40, 24)
    expected = torch.einsum("oc,bchw->bohw", encoder.reduce.weight[:, :, 0, 0], body(image))
    torch.testing.assert_close(encoder(image), expected, rtol=1e-4, atol=1e-4)


def test_resnet_refuses_an_unknown_depth() -> None:
    with pytest.raises(ValueError, match=r"depth: 34 is not among \[18, 50, 101\]\. Choose one"):
        DilatedResNet(34)
