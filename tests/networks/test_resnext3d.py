# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The modified 3-D ResNeXt: Table 9, the public file's names, checkpointing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_fss.networks.nets.factory import build_encoder
from monai_fss.networks.nets.pretrained import load_pretrained
from monai_fss.networks.nets.resnext3d import ResNeXt3D

FEW = (1, 1, 1, 1)


def published(layers: tuple[int, ...] = (3, 4, 23, 3)) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors under "state_dict" in the public Kinetics file, written down by hand.

    It is of 2018: batch norm did not count its batches then.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})

    shapes["module.conv1.weight"] = (64, 3, 7, 7, 7)
    norm("module.bn1", 64)
    below = 64
    for stage, (blocks, width) in enumerate(zip(layers, (128, 256, 512, 1024), strict=True), start=1):
        for block in range(blocks):
            name = f"module.layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, below, 1, 1, 1)
            shapes[f"{name}.conv2.weight"] = (width, width // 32, 3, 3, 3)
            shapes[f"{name}.conv3.weight"] = (2 * width, width, 1, 1, 1)
            for number, channels in ((1, width), (2, width), (3, 2 * width)):
                norm(f"{name}.bn{number}", channels)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (2 * width, below, 1, 1, 1)
                norm(f"{name}.downsample.1", 2 * width)
            below = 2 * width
    return shapes | {"module.fc.weight": (400, below), "module.fc.bias": (400,)}


def save(path: Path, state: dict[str, torch.Tensor]) -> Path:
    content = {"epoch": 200, "arch": "resnext-101", "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, path)
    return path


def few_published(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) / 10 for name, shape in published(FEW).items()}


def test_body_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = ResNeXt3D(in_channels=3, out_channels=None)
    assert sum(p.numel() for p in encoder.parameters()) == 47_521_216
    assert (encoder.out_channels, encoder.depth, encoder.stride, encoder.spatial_dims) == (2048, 101, (8, 8, 1), 3)


def test_strides_groups_and_sizes_are_those_of_table_9() -> None:
    with torch.device("meta"):
        encoder = ResNeXt3D()
    sizes: dict[str, tuple[int, ...]] = {}
    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "reduce"):
        getattr(encoder, name).register_forward_hook(
            lambda _m, _i, out, name=name: sizes.update({name: tuple(out.shape[1:])})
        )
    assert encoder(torch.zeros(1, 1, 215, 208, 10, device="meta")).shape == (1, 256, 27, 26, 10)
    assert sizes == {
        "conv1": (64, 10, 108, 104),
        "maxpool": (64, 10, 54, 52),
        "layer1": (256, 10, 54, 52),
        "layer2": (512, 10, 27, 26),
        "layer3": (1024, 10, 27, 26),
        "layer4": (2048, 10, 27, 26),
        "reduce": (256, 10, 27, 26),
    }
    assert [len(stage) for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4)] == [3, 4, 23, 3]
    blocks = [block for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4) for block in stage]
    assert {block.conv2.groups for block in blocks} == {32}
    assert {block.conv2.dilation for block in blocks} == {(1, 1, 1)}
    strided = [i for i, block in enumerate(blocks) if block.conv2.stride != (1, 1, 1)]
    assert strided == [3] and blocks[3].conv2.stride == blocks[3].downsample[0].stride == (1, 2, 2)
    assert encoder.maxpool.kernel_size == (1, 3, 3)


@pytest.mark.parametrize(("kernel", "image"), [(2, 4), (3, 2), (4, 3)])
def test_the_first_axis_of_a_kernel_goes_along_slices(kernel: int, image: int) -> None:
    """Kernels are (slices, H, W), images (H, W, slices): flip both along an axis, and the features are flipped."""
    torch.manual_seed(0)
    one, two = ResNeXt3D(layers=FEW, out_channels=4).double().eval(), ResNeXt3D(layers=FEW, out_channels=4).double()
    two.eval().load_state_dict({k: v.flip(kernel) if v.ndim == 5 else v for k, v in one.state_dict().items()})
    # Odd in plane: then the strided kernels lie at the same places seen from either end.
    volume = torch.randn(1, 1, 33, 41, 4, dtype=torch.float64)
    torch.testing.assert_close(two(volume.flip(image)), one(volume).flip(image))


def test_the_public_file_fills_the_body_and_nothing_else(tmp_path: Path) -> None:
    state = {name: torch.ones(()).expand(shape) for name, shape in published().items()}  # one stored number each
    encoder = ResNeXt3D(in_channels=3)
    reduction = encoder.reduce.weight.clone()
    assert load_pretrained(encoder, save(tmp_path / "resnext-101-kinetics.pth", state)) is encoder
    own = encoder.state_dict()
    loaded = {name for name in own if f"module.{name}" in state}
    assert len(loaded) == len(state) - 2  # but fc
    assert all(bool((own[name] == 1).all()) for name in loaded)
    rest = own.keys() - loaded
    assert {name.rpartition(".")[2] for name in rest - {"reduce.weight"}} == {"num_batches_tracked"}
    assert torch.equal(own["reduce.weight"], reduction)


def test_one_channel_equals_the_voxel_repeated_three_times(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", few_published())
    one = load_pretrained(ResNeXt3D(1, None, FEW), path).double().eval()
    three = load_pretrained(ResNeXt3D(3, None, FEW), path).double().eval()
    volume = torch.randn(1, 1, 24, 17, 3, dtype=torch.float64)
    torch.testing.assert_close(one(volume), three(volume.repeat(1, 3, 1, 1, 1)))


def test_missing_and_misshapen_tensors_are_named_and_nothing_is_changed(tmp_path: Path) -> None:
    state = few_published()
    del state["module.layer2.0.conv2.weight"]
    state["module.bn1.bias"] = torch.zeros(7)
    encoder = ResNeXt3D(layers=FEW)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(
        ValueError,
        match=r"a.pth: does not fit a 3-D ResNeXt of depth 14 \(1 missing: layer2.0.conv2.weight; 1 of another shape: "
        r"bn1.bias \(7,\) instead of \(64,\)\)\. Give the Kinetics weights of a ResNeXt-101 with cardinality 32",
    ):
        load_pretrained(encoder, save(tmp_path / "a.pth", state))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_network_of_another_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not fit a 3-D ResNeXt of depth 101 \(\d+ missing: layer1.1.conv1.weight"):
        build_encoder("resnext101_3d", pretrained=str(save(tmp_path / "few.pth", few_published())))


class Kept:
    """Bytes of what autograd keeps for the way back."""

    def __init__(self) -> None:
        self.bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor


@pytest.fixture(scope="module")
def both() -> Iterator[dict[bool, tuple[nn.Module, torch.Tensor, int]]]:
    """A step without and with checkpointing: network, features, bytes kept."""
    found = {}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = ResNeXt3D(layers=(2, 1, 2, 1), out_channels=8, checkpointing=checkpointing).train()
        kept, volume = Kept(), torch.randn(2, 1, 32, 24, 4)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
            features = encoder(volume)
        features.square().sum().backward()
        found[checkpointing] = (encoder, features, kept.bytes)
    yield found


def test_checkpointing_gives_the_same_features_and_gradients(
    both: dict[bool, tuple[nn.Module, torch.Tensor, int]],
) -> None:
    plain, checked = both[False][0], both[True][0]
    assert torch.equal(both[False][1], both[True][1])
    for (name, a), b in zip(plain.named_parameters(), checked.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None and a.grad.abs().sum() > 0
        assert torch.equal(a.grad, b.grad), name


def test_checkpointing_counts_each_batch_once(both: dict[bool, tuple[nn.Module, torch.Tensor, int]]) -> None:
    plain, checked = both[False][0].state_dict(), both[True][0].state_dict()
    assert all(torch.equal(plain[name], checked[name]) for name in plain)
    assert int(checked["layer3.1.bn2.num_batches_tracked"]) == 1
    assert all(norm.momentum == 0.1 for norm in both[True][0].modules() if isinstance(norm, nn.BatchNorm3d))


def test_checkpointing_keeps_less(both: dict[bool, tuple[nn.Module, torch.Tensor, int]]) -> None:
    assert both[True][2] < both[False][2] / 3


@pytest.mark.parametrize("checkpointing", [False, True])
def test_scripted_encoder_computes_the_same(checkpointing: bool) -> None:
    encoder = ResNeXt3D(layers=FEW, out_channels=4, checkpointing=checkpointing).eval()
    volume = torch.randn(1, 1, 40, 33, 5)
    torch.testing.assert_close(torch.jit.script(encoder)(volume), encoder(volume))


def test_factory_hands_the_switch_on_and_refuses_it_elsewhere() -> None:
    with torch.device("meta"):
        encoder = build_encoder("resnext101_3d", in_channels=2, checkpointing=True, positions=[0.5])
    assert encoder.encoder.checkpointing and encoder.encoder.conv1.weight.shape[1] == 2
    assert (encoder.out_channels, encoder.spatial_dims) == (258, 3)
    for name in ("compact", "compact_3d", "resnet18"):
        with pytest.raises(ValueError, match=f"encoder '{name}' has no activation checkpointing. Set checkpointing"):
            build_encoder(name, checkpointing=True)
