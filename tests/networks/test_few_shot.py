# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The few-shot contract: condition buffers, state dicts, errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from monai_fss.networks.blocks import support_prototypes
from monai_fss.networks.nets.factory import build_encoder
from monai_fss.networks.nets.few_shot import FewShotNet, check_support


class MeanNet(FewShotNet):
    """The smallest network that keeps the contract: one weight and the mean intensity of each way."""

    def __init__(self, ways: int = 1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_condition("means", torch.ones(ways, 1))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        foreground = image * self.means.reshape(1, -1, 1, 1)
        return torch.cat([torch.zeros_like(image), foreground], dim=1)

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        return {"logits": image.max() + support_image.max()}

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> MeanNet:
        check_support(support_image, support_label)
        self.means = self.scale.detach() * support_prototypes(support_image, support_label)
        return self


def support(ways: int = 2, shots: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.arange(1.0, ways + 1).reshape(ways, 1, 1, 1, 1).expand(ways, shots, 1, 4, 4).clone()
    return image, torch.ones(ways, shots, 1, 4, 4)


def test_a_new_network_is_not_conditioned() -> None:
    net = MeanNet(ways=3)
    assert not net.is_conditioned
    assert net.ways == 3
    assert torch.equal(net.means, torch.zeros(3, 1))


def test_condition_and_clear() -> None:
    net = MeanNet()
    assert net.condition(*support(2)) is net
    assert net.is_conditioned and net.ways == 2
    torch.testing.assert_close(net.means, torch.tensor([[1.0], [2.0]]), rtol=0, atol=1e-4)
    assert net.clear_condition() is net
    assert not net.is_conditioned and net.ways == 2


def test_the_base_class_leaves_three_methods_to_others() -> None:
    with pytest.raises(TypeError, match="FewShotNet has no condition"):
        FewShotNet().condition(*support())
    with pytest.raises(TypeError, match="FewShotNet has no segment"):
        FewShotNet()(torch.zeros(1, 1, 4, 4))
    with pytest.raises(TypeError, match="FewShotNet has no episode"):
        FewShotNet()(torch.zeros(1, 1, 4, 4), *support(1))


def test_forward_segments_and_with_a_support_set_runs_the_episode() -> None:
    net = MeanNet().condition(*support(2))
    image = torch.full((1, 1, 2, 2), 5.0)
    torch.testing.assert_close(net(image)[0, :, 0, 0], torch.tensor([0.0, 5.0, 10.0]), rtol=0, atol=1e-3)
    assert net(image, *support(1))["logits"] == 5 + 1
    torch.testing.assert_close(torch.jit.script(net)(image), net(image))
    with pytest.raises(torch.jit.Error, match="A scripted network takes the image alone"):
        torch.jit.script(net)(image, *support(1))


def test_a_training_state_dict_leaves_the_condition_out() -> None:
    net = MeanNet().condition(*support(2))
    assert set(net.train().state_dict()) == {"scale"}
    assert set(net.eval().state_dict()) == {"scale", "means"}
    wrapped = nn.ModuleDict({"inner": net})
    assert set(wrapped.train().state_dict()) == {"inner.scale"}
    assert set(wrapped.eval().state_dict()) == {"inner.scale", "inner.means"}


@pytest.mark.parametrize("incoming", [1, 4])
def test_loading_resizes_the_condition(incoming: int) -> None:
    source = MeanNet().condition(*support(incoming)).eval()
    target = MeanNet(ways=2)
    target.load_state_dict(source.state_dict())
    assert target.ways == incoming and torch.equal(target.means, source.means)
    assert target.means.data_ptr() != source.means.data_ptr()
    wrapped = nn.ModuleDict({"inner": MeanNet(ways=2)})
    wrapped.load_state_dict(nn.ModuleDict({"inner": source}).eval().state_dict())
    assert torch.equal(wrapped["inner"].means, source.means)


def test_loading_stays_strict_for_weights() -> None:
    net = MeanNet()
    with pytest.raises(RuntimeError, match="Missing key.*scale"):
        net.load_state_dict({"means": torch.zeros(1, 1)})
    with pytest.raises(RuntimeError, match="Unexpected key.*other"):
        net.load_state_dict({"scale": torch.ones(1), "other": torch.ones(1)})


def test_a_training_checkpoint_loads_strictly_and_forgets_the_condition() -> None:
    state = MeanNet().train().state_dict()
    state["scale"] = torch.full((1,), 3.0)
    net = MeanNet().condition(*support(2))
    net.load_state_dict(state)
    assert net.scale.item() == 3 and not net.is_conditioned
    assert set(state) == {"scale"}


def test_state_dict_survives_a_file_with_weights_only(tmp_path: Path) -> None:
    net = MeanNet().condition(*support(3)).eval()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = MeanNet()
    other.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert torch.equal(other.means, net.means)


def test_check_support_accepts_two_and_three_dimensions() -> None:
    check_support(torch.rand(2, 3, 4, 5, 6), torch.ones(2, 3, 1, 5, 6))
    check_support(torch.rand(2, 3, 4, 5, 6, 7), torch.ones(2, 3, 1, 5, 6, 7))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ((2, 1, 1, 4, 4), (2, 1, 1, 4, 5)),
        ((2, 1, 1, 4, 4), (1, 1, 1, 4, 4)),
        ((2, 1, 1, 4, 4), (2, 2, 1, 4, 4)),
        ((2, 1, 3, 4, 4), (2, 1, 3, 4, 4)),
        ((2, 1, 1, 4, 4), (2, 1, 4, 4)),
        ((1, 1, 4, 4), (1, 1, 4, 4)),
    ],
)
def test_check_support_refuses_shapes_that_do_not_belong_together(image: tuple, label: tuple) -> None:
    with pytest.raises(ValueError, match="do not belong together. Give") as caught:
        check_support(torch.rand(image), torch.ones(label))
    assert str(image) in str(caught.value) and str(label) in str(caught.value)


def test_check_support_names_the_empty_ways() -> None:
    image, label = support(4)
    label[1] = 0
    label[3] = 0
    with pytest.raises(ValueError, match=r"empty for way\(s\) \[1, 3\] of 4. Each way needs a labelled example"):
        check_support(image, label)
    label[1, 0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match=r"way\(s\) \[3\]"):
        check_support(image, label)


def test_encoders_by_name() -> None:
    assert build_encoder("compact", in_channels=3).out_channels == 64
    assert build_encoder("resnet18", in_channels=1).out_channels == 256
    with pytest.raises(ValueError, match="encoder 'vgg' is not known. Choose one of compact, resnet18"):
        build_encoder("vgg")
    with pytest.raises(ValueError, match="compact encoder has no pretrained weights"):
        build_encoder("compact", pretrained="weights.pth")
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        build_encoder("resnet18", pretrained="nowhere.pth")
