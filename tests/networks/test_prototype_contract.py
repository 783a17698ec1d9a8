# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PANet and ALPNet: the contract of few-shot networks, episodes, model files, TorchScript, half precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from known_features import Pixels, random_support

from monai_fss.data import ScanError, load_model, save_model
from monai_fss.losses import PrototypeLoss
from monai_fss.networks.nets import ALPNet, PANet, build_encoder

NETS = [PANet, ALPNet]


@pytest.mark.parametrize("cls", NETS)
def test_permuted_ways_permute_the_outputs(cls: type[PANet]) -> None:
    torch.manual_seed(0)
    net = cls(build_encoder("compact")).eval()
    image, label = random_support(3, 2, 1, 32)
    label[1, :, :, :12] = 0  # banks of different sizes
    query = torch.randn(2, 1, 32, 32)
    order = [2, 0, 1]
    with torch.no_grad():
        one = net.condition(image, label)(query)
        two = net.condition(image[order], label[order])(query)
        torch.testing.assert_close(two[:, 1:], one[:, 1:][:, order])
        assert not torch.allclose(one[:, 1], one[:, 2])
        for way in range(3):  # and a way does not depend on the others
            alone = net.condition(image[way : way + 1], label[way : way + 1])(query)
            torch.testing.assert_close(one[:, way + 1], alone[:, 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", NETS)
@pytest.mark.parametrize("mode", [True, False])
def test_conditioned_network_equals_the_episode(cls: type[PANet], mode: bool) -> None:
    torch.manual_seed(0)
    same_cells = {"train_cell": 8, "cell": 8} if cls is ALPNet else {}
    net = cls(build_encoder("compact"), **same_cells).train(mode)
    support_image, support_label = random_support(2, 3, 1, 32)  # two episodes of three shots
    support_label[1, 2] = 0  # padding
    query = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        episode = net(query, support_image, support_label)
        for n in range(2):
            net.condition(support_image[n : n + 1], support_label[n : n + 1])
            torch.testing.assert_close(net(query[n : n + 1]), episode["logits"][n : n + 1], rtol=1e-4, atol=1e-4)
        net.condition(support_image[1:, :2], support_label[1:, :2])  # without the padding
        torch.testing.assert_close(net(query[1:]), episode["logits"][1:], rtol=1e-4, atol=1e-4)
    assert episode["logits"].shape == (2, 2, 32, 32)
    assert episode["aligned_logits"].shape == (2, 3, 2, 32, 32)
    assert episode["support_label"] is support_label


@pytest.mark.parametrize("cls", NETS)
def test_an_episode_without_any_mask_trains_nothing(cls: type[PANet]) -> None:
    """Augmentation can push the pseudo-organ out of the window; every parameter still takes part in the step."""
    net = cls(build_encoder("compact"))
    out = net(torch.randn(1, 1, 32, 32), torch.randn(1, 1, 1, 32, 32), torch.zeros(1, 1, 1, 32, 32))
    assert torch.equal(out["logits"], torch.zeros(1, 2, 32, 32))
    PrototypeLoss()(out, torch.zeros(1, 1, 32, 32)).backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("cls", NETS)
def test_support_and_query_share_one_encoder_pass(cls: type[PANet]) -> None:
    encoder = Pixels()
    cls(encoder)(torch.randn(2, 2, 4, 4), torch.randn(2, 3, 2, 4, 4), torch.ones(2, 3, 1, 4, 4))
    assert encoder.passes == 1


@pytest.mark.parametrize("cls", NETS)
def test_slices_of_another_size_and_many_shots(cls: type[PANet]) -> None:
    torch.manual_seed(0)
    net = cls(build_encoder("compact")).eval()
    net.condition(*random_support(2, 9, 1, 32))  # more slices than one pass of the encoder takes
    assert net(torch.randn(1, 1, 40, 51)).shape == (1, 3, 40, 51)
    assert not net.prototypes.requires_grad and net.ways == 2 and net.is_conditioned
    assert not net.clear_condition().is_conditioned


@pytest.mark.parametrize("cls", NETS)
def test_condition_checks_the_support(cls: type[PANet]) -> None:
    net = cls(build_encoder("compact"))
    image, label = random_support(2, 1, 1, 32)
    assert net.condition(image, label) is net
    with pytest.raises(ValueError, match="do not belong together"):
        net.condition(image[:, 0], label)
    with pytest.raises(ValueError, match=r"empty for way\(s\) \[1\] of 2"):
        net.condition(image, label * torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1, 1))


@pytest.mark.parametrize("cls", NETS)
def test_state_dict_takes_a_condition_of_more_ways_and_prototypes(cls: type[PANet]) -> None:
    torch.manual_seed(0)
    net = cls(build_encoder("compact")).eval().condition(*random_support(4, 1, 1, 32))
    fresh = cls(build_encoder("compact"), ways=1).eval()
    fresh.load_state_dict(net.state_dict(), strict=True)
    query = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(fresh(query), net(query))
    assert not any(name in ("prototypes", "valid") for name in net.train().state_dict())


def test_a_model_of_one_is_refused_by_the_other(tmp_path: Path) -> None:
    """Their weights are the same, their results are not."""
    for cls, other in ((PANet, ALPNet), (ALPNet, PANet)):
        save_model(tmp_path / "model.pt", cls(build_encoder("compact")), {})
        load_model(tmp_path / "model.pt", cls(build_encoder("compact")))
        with pytest.raises(ScanError, match=f"is a model of {cls.__name__}, not of {other.__name__}. Name the bundle"):
            load_model(tmp_path / "model.pt", other(build_encoder("compact")))


@pytest.mark.parametrize("cls", NETS)
@pytest.mark.parametrize("name", ["compact", "resnet18"])
def test_conditioned_network_scripts_and_reloads(cls: type[PANet], name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = cls(build_encoder(name)).eval()
    net.condition(*random_support(3, 2, 1, 64))
    query = torch.randn(2, 1, 64, 48)
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    scripted = torch.jit.load(str(tmp_path / "net.ts"))
    with torch.no_grad():
        expected = net(query)
        assert torch.equal(scripted(query), expected)
    assert expected.shape == (2, 4, 64, 48) and (expected[:, 1] != expected[:, 2]).any()
    with pytest.raises(Exception, match="condition it before scripting"):
        scripted(query, torch.randn(2, 1, 1, 64, 48), torch.ones(2, 1, 1, 64, 48))


@pytest.mark.parametrize("cls", NETS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_close(cls: type[PANet], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = cls(build_encoder("compact"))
    image, label = random_support(2, 1, 1, 32)
    query = image[:, 0] + 0.1 * torch.randn(2, 1, 32, 32)
    with torch.autocast("cpu", dtype=dtype):
        half = net(query, image, label)
    full = net(query, image, label)
    torch.testing.assert_close(half["logits"], full["logits"], rtol=0.05, atol=1.0)
    assert half["logits"].dtype == torch.float32
    (half["logits"].sum() + half["aligned_logits"].sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
