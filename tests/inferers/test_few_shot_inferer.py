# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The few-shot inferer: one pass over the support, a plain slice loop over the query."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_fss.inferers.few_shot import FewShotInferer, conditioned
from monai_fss.inferers.support import SupportSet
from monai_fss.networks.nets.adnet import ADNet
from monai_fss.networks.nets.compact_encoder import CompactEncoder


class Counted(CompactEncoder):
    """Counts images and remembers in which mode they were encoded."""

    def __init__(self) -> None:
        super().__init__(features=(4, 4, 8), out_channels=8)
        self.sizes: list[int] = []
        self.modes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        self.modes.append(self.training)
        return super().forward(x)


def network() -> ADNet:
    torch.manual_seed(0)
    return ADNet(Counted()).eval()


def support(seed: int = 0, ways: int = 2, shots: int = 1) -> SupportSet:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(ways, shots, 1, 16, 16, generator=generator)
    label = (torch.rand(ways, shots, 1, 16, 16, generator=generator) > 0.5).float()
    return SupportSet(image, label, tuple(range(1, ways + 1)))


@torch.no_grad()
def slice_loop(net: ADNet, volume: torch.Tensor) -> torch.Tensor:
    return torch.stack([net(volume[..., z]) for z in range(volume.shape[-1])], dim=-1)


@torch.no_grad()
def test_equals_the_plain_slice_loop() -> None:
    net, volume, given = network(), torch.rand(2, 1, 16, 20, 7), support()
    got = FewShotInferer(given, slices_per_batch=3)(volume, net)
    assert got.shape == (2, 3, 16, 20, 7)
    expected = slice_loop(network().condition(given.image, given.label), volume)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert (got[:, 1] != got[:, 2]).any()


@torch.no_grad()
def test_the_support_is_encoded_once_for_any_number_of_volumes() -> None:
    net, inferer = network(), FewShotInferer(support(ways=2, shots=3), slices_per_batch=4)
    for _ in range(3):
        inferer(torch.rand(1, 1, 16, 16, 8), net)
    assert net.encoder.sizes == [6] + 3 * [4, 4]  # two ways of three shots together, then the volumes


def fused(net: ADNet) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), fused=True)


@pytest.mark.parametrize(
    "optimizer", [lambda n: torch.optim.SGD(n.parameters(), 0.1), lambda n: torch.optim.Adam(n.parameters()), fused]
)
def test_conditions_again_after_an_optimiser_step(optimizer: Callable[[ADNet], torch.optim.Optimizer]) -> None:
    net, volume, given = network(), torch.rand(1, 1, 16, 16, 2), support()
    inferer, step = FewShotInferer(given), optimizer(net)
    with torch.no_grad():
        first = inferer(volume, net)
    net.train()
    net(torch.rand(1, 1, 16, 16), given.image[:1], given.label[:1])["logits"].sum().backward()
    step.step()
    net.eval()
    with torch.no_grad():
        second = inferer(volume, net)
        expected = slice_loop(net.condition(given.image, given.label), volume)
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first, second)


@torch.no_grad()
def test_conditions_again_after_loading_weights_or_another_condition() -> None:
    net, volume, given = network(), torch.rand(1, 1, 16, 16, 2), support()
    inferer, other = FewShotInferer(given), FewShotInferer(support(seed=5, ways=3))
    first = inferer(volume, net)
    assert other(volume, net).shape[1] == 4
    assert torch.equal(inferer(volume, net), first)
    net.clear_condition()
    assert torch.equal(inferer(volume, net), first)
    torch.manual_seed(9)
    net.load_state_dict(ADNet(Counted()).train().state_dict())
    expected = slice_loop(net, volume)
    again = inferer(volume, net)
    assert not torch.allclose(again, expected)  # the old condition with the new weights
    torch.testing.assert_close(again, slice_loop(net.condition(given.image, given.label), volume), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_another_network_is_conditioned_too() -> None:
    inferer, volume = FewShotInferer(support()), torch.rand(1, 1, 16, 16, 2)
    one, two = network(), network()
    assert torch.equal(inferer(volume, one), inferer(volume, two))
    assert two.is_conditioned


@torch.no_grad()
def test_works_in_inference_mode() -> None:
    net, volume = network(), torch.rand(1, 1, 16, 16, 2)
    with torch.inference_mode():
        inferer = FewShotInferer(support())
        assert torch.equal(inferer(volume, net), inferer(volume, net))
    assert net.encoder.sizes == [2, 2, 2]


def test_an_unconditioned_network_is_refused() -> None:
    with pytest.raises(
        ValueError, match="has not been conditioned: it knows no class to segment. Give the inferer a supp"
    ):
        FewShotInferer()(torch.rand(1, 1, 16, 16, 2), network())


@torch.no_grad()
def test_a_network_conditioned_before_needs_no_support() -> None:
    given, volume = support(), torch.rand(1, 1, 16, 16, 2)
    net = network().condition(given.image, given.label)
    torch.testing.assert_close(FewShotInferer()(volume, net), slice_loop(net, volume), rtol=1e-4, atol=1e-4)
    scripted = torch.jit.script(ADNet(CompactEncoder(features=(4, 4, 8))).eval().condition(given.image, given.label))
    assert FewShotInferer()(volume, scripted).shape == (1, 3, 16, 16, 2)


@torch.no_grad()
def test_a_wrapped_network_is_conditioned_inside() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    net, volume = network(), torch.rand(1, 1, 16, 16, 2)
    got = FewShotInferer(support())(volume, Wrapper(net))
    assert net.is_conditioned and torch.equal(got, FewShotInferer(support())(volume, network()))


@torch.no_grad()
def test_the_support_is_encoded_in_evaluation_mode_and_the_mode_comes_back() -> None:
    net = network().train()
    FewShotInferer(support())(torch.rand(1, 1, 16, 16, 2), net)
    assert net.encoder.modes == [False, True] and net.training


def test_a_monai_evaluator_runs_it() -> None:
    net, given = network(), support()
    volume = torch.rand(1, 1, 16, 16, 3)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": volume, "label": torch.zeros(1, 1, 16, 16, 3)}],
        network=net,
        inferer=FewShotInferer(given),
        decollate=False,
    )
    evaluator.run()
    with torch.no_grad():
        expected = FewShotInferer(given)(volume, network())
    assert torch.equal(evaluator.state.output["pred"], expected)


def test_conditioned_restores_condition_and_mode() -> None:
    net, own, other = network(), support(), support(seed=3, ways=3)
    net.condition(own.image, own.label).train()
    before = net.prototypes.clone()
    with conditioned(net, other) as inside:
        assert inside is net and not net.training and net.ways == 3
    assert net.training and torch.equal(net.prototypes, before)
    with pytest.raises(RuntimeError, match="stop"), conditioned(net, other):
        raise RuntimeError("stop")
    assert net.training and torch.equal(net.prototypes, before)
    empty = SupportSet(own.image, torch.zeros_like(own.label), own.values)
    with pytest.raises(ValueError, match="support_label is empty"), conditioned(net, empty):
        pass
    assert net.training and torch.equal(net.prototypes, before)
