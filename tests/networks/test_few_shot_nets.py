# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The few-shot contract, asked of the network of every few-shot bundle."""

from __future__ import annotations

import pytest
import torch
from installed_bundles import FEW_SHOT
from known_features import random_support

from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.networks.nets import FewShotNet

# A network of volumes is given few slices.
PLANE, SLICES = 32, 6


@pytest.fixture(params=FEW_SHOT)
def net(request: pytest.FixtureRequest) -> FewShotNet:
    torch.manual_seed(0)
    found = inference_parser(Method(request.param), {}, {}).get_parsed_content("network_def")
    assert isinstance(found, FewShotNet)
    return found.eval()


def support(net: FewShotNet, ways: int, shots: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images of four channels (W, S, 4, *spatial), a rectangle labelled in each."""
    image, label = random_support(ways, shots, 4, PLANE)
    if net.spatial_dims == 3:
        image = image[..., None] + 0.1 * torch.randn(*image.shape, SLICES)
        label = label[..., None].repeat(1, 1, 1, 1, 1, SLICES)
    return image, label


@torch.no_grad()
def test_ways_are_segmented_as_if_each_were_alone(net: FewShotNet) -> None:
    image, label = support(net, 3, 2)
    label[1, :, :, :12] = 0
    query, order = image[0, :1], [2, 0, 1]
    together = net.condition(image, label)(query)
    assert together.shape == (1, 4, *query.shape[2:]) and torch.isfinite(together).all()
    assert net.is_conditioned and net.ways == 3
    permuted = net.condition(image[order], label[order])(query)
    torch.testing.assert_close(permuted[:, 1:], together[:, 1:][:, order], rtol=1e-4, atol=1e-3)
    alone = net.condition(image[1:2], label[1:2])(query)
    torch.testing.assert_close(alone[:, 1], together[:, 2], rtol=1e-4, atol=1e-3)
    assert not torch.allclose(together[:, 1], together[:, 2])


@torch.no_grad()
def test_a_shot_without_a_mask_is_padding(net: FewShotNet) -> None:
    image, label = support(net, 2, 2)
    label[:, 1] = 0
    padded = net.condition(image, label)(image[0, :1])
    torch.testing.assert_close(net.condition(image[:, :1], label[:, :1])(image[0, :1]), padded, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_a_condition_travels_in_the_state_dict_and_stays_out_of_a_training(net: FewShotNet) -> None:
    image, label = support(net, 3, 1)
    query = image[0, :1]
    assert torch.isfinite(net(query)).all() and not net.is_conditioned
    before = net.condition(image, label)(query)
    stored = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert not net.clear_condition().is_conditioned
    net.condition(image[:1], label[:1]).load_state_dict(stored)
    assert torch.equal(net(query), before)
    assert not set(net.condition_names) & net.train().state_dict().keys()


def test_a_support_set_that_does_not_fit_is_refused(net: FewShotNet) -> None:
    image, label = support(net, 2, 1)
    with pytest.raises(ValueError, match="do not belong together"):
        net.condition(image[:1], label)
    label[1] = 0
    with pytest.raises(ValueError, match=r"empty for way\(s\) \[1\] of 2"):
        net.condition(image, label)
