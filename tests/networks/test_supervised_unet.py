# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The supervised network: its resolution, its output layer, its precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_fss.networks.nets import SupervisedUNet


def network(ways: int = 2, bfloat16: bool = False) -> SupervisedUNet:
    torch.manual_seed(0)
    return SupervisedUNet(ways, [4, 8, 16], bfloat16)


def image() -> torch.Tensor:
    return torch.rand(2, 1, 16, 24, 8, generator=torch.Generator().manual_seed(0))


def test_it_works_from_half_resolution_and_answers_at_the_images() -> None:
    net = network().eval()
    half = net.body(image())
    assert half.shape == (2, 3, 8, 12, 4)
    expected = F.interpolate(half, scale_factor=2, mode="trilinear", align_corners=False)
    torch.testing.assert_close(net(image()), expected)


def test_the_default_has_the_size_that_is_said() -> None:
    parameters = sum(weight.numel() for weight in SupervisedUNet(13).parameters())
    assert 3.1e6 < parameters < 3.2e6


def test_the_output_layer_alone_depends_on_the_classes() -> None:
    one, two = (network(ways).state_dict() for ways in (1, 5))
    differing = {key for key in one if one[key].shape != two[key].shape}
    assert differing == {key for key in one if key.startswith(SupervisedUNet.output_prefix)} != set()


def test_in_bfloat16_it_is_trained_and_not_used() -> None:
    single, half = network(), network(bfloat16=True)
    assert torch.equal(single.eval()(image()), half.eval()(image()))
    trained = half.train()(image())
    assert trained.dtype == torch.float32
    exact = single.train()(image())
    assert not torch.equal(trained, exact)
    assert torch.cosine_similarity(trained.flatten(), exact.flatten(), dim=0) > 0.9, "norms of six voxels magnify it"
    trained.sum().backward()
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in half.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_it_scripts(training: bool) -> None:
    net = network().train(training)
    torch.testing.assert_close(torch.jit.script(net)(image()), net(image()))
