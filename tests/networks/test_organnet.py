# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""OrganNet: what its sharing, anchors and borders are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_fss.losses import OrganNetLoss
from monai_fss.networks.nets import OrganNet
from monai_fss.networks.nets.organnet import SHARINGS


def small(**more: object) -> OrganNet:
    torch.manual_seed(0)
    return OrganNet(**{"channels": (4, 8, 12), "neighbourhoods": (3, 1), **more})  # type: ignore[arg-type]


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_encoders_share_weights_as_asked() -> None:
    """Table 3: three encoders, two, or one."""
    one = parameters(small(sharing="none").anchor)
    sizes = {sharing: parameters(small(sharing=sharing)) for sharing in SHARINGS}
    assert sizes["none"] - sizes["anchor_mask"] == one == sizes["none"] - sizes["target_anchor"]
    assert sizes["none"] - sizes["all"] == 2 * one
    net = small(sharing="anchor_mask", mask_channels=2)
    assert net.mask[1] is net.anchor[1] and net.mask[0] is not net.anchor[0]
    assert net.mask[0][1] is net.anchor[0][1], "all but the first convolution"
    with pytest.raises(ValueError, match="none, anchor_mask, target_anchor, all, got 'both'"):
        small(sharing="both")
    with pytest.raises(ValueError, match="4 neighbourhoods for 3 levels"):
        small(neighbourhoods=(3, 3, 3, 3))


@torch.no_grad()
def test_the_condition_is_the_anchor_of_an_episode() -> None:
    net = small(mask_channels=2).eval()
    image, anchor = torch.randn(2, 1, 9, 10, 7), torch.randn(2, 1, 1, 9, 10, 7)
    mask = torch.rand(2, 1, 2, 9, 10, 7)
    logits = net(image, anchor, mask)["logits"]
    assert logits.shape == (2, 2, 9, 10, 7) and not logits[:, 0].any()
    for n in range(2):
        net.condition(anchor[n : n + 1], mask[n : n + 1])
        torch.testing.assert_close(net(image[n : n + 1]), logits[n : n + 1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_several_anchors_are_averaged_in_probability_and_empty_ones_do_not_count() -> None:
    net = small().eval()
    image, anchors = torch.randn(1, 1, 8, 8, 8), torch.randn(1, 3, 1, 8, 8, 8)
    masks = (torch.rand(1, 3, 1, 8, 8, 8) > 0.5).float()
    masks[:, 0] = 0
    each = [net(image, anchors[:, s : s + 1], masks[:, s : s + 1])["logits"][:, 1] for s in (1, 2)]
    expected = torch.logit((torch.sigmoid(each[0]) + torch.sigmoid(each[1])) / 2)
    torch.testing.assert_close(net.condition(anchors, masks)(image)[:, 1], expected, rtol=1e-4, atol=1e-4)


def test_an_anchor_that_does_not_fit_is_refused() -> None:
    one = torch.ones(1, 1, 1, 8, 8, 8)
    with pytest.raises(ValueError, match=r"has 1 channel\(s\) for each anchor, and the network takes 2"):
        small(mask_channels=2).condition(one, one)
    with pytest.raises(ValueError, match=r"empty for way\(s\) \[0\] of 1"):
        small().condition(one, 0 * one)
    with pytest.raises(ValueError, match=r"the anchor has \[8, 8, 8\] voxels and the image \[8, 8, 9\]"):
        small().condition(one, one)(torch.zeros(1, 1, 8, 8, 9))


@torch.no_grad()
def test_what_the_anchor_shows_decides() -> None:
    """Without its mask, and without what its image shows, the answer is another one."""
    net = small().eval()
    image, anchor = torch.randn(1, 1, 8, 8, 8), torch.randn(1, 1, 1, 8, 8, 8)
    mask = (torch.rand(1, 1, 1, 8, 8, 8) > 0.5).float()
    known = net(image, anchor, mask)["logits"]
    assert not torch.allclose(known, net(image, anchor, 1 - mask)["logits"], atol=1e-3)
    assert not torch.allclose(known, net(image, -anchor, mask)["logits"], atol=1e-3)


def test_every_weight_learns_and_the_loss_is_dice_plus_cross_entropy() -> None:
    net = small()
    label = torch.zeros(2, 1, 8, 8, 8)
    label[:, :, 2:6, 2:6, 2:6] = 1
    out = net(torch.randn(2, 1, 8, 8, 8), torch.randn(2, 1, 1, 8, 8, 8), label[:, None])
    loss = OrganNetLoss()(out, label)
    loss.backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for name, p in net.named_parameters() if "bias" not in name
    )
    p = torch.softmax(out["logits"], 1)[:, 1:].flatten(1)
    truth = label.flatten(1)
    dice = 1 - (2 * (p * truth).sum(1) + 1e-5) / (p.sum(1) + truth.sum(1) + 1e-5)
    entropy = -torch.log(torch.where(truth > 0, p, 1 - p)).mean()
    assert loss.item() == pytest.approx((dice.mean() + entropy).item(), rel=1e-4)


@torch.no_grad()
def test_a_conditioned_network_scripts_and_gives_the_same(tmp_path: Path) -> None:
    net = small(sharing="all").eval()
    anchors, masks = torch.randn(2, 2, 1, 9, 8, 7), (torch.rand(2, 2, 1, 9, 8, 7) > 0.5).float()
    net.condition(anchors, masks)
    torch.jit.script(net).save(str(tmp_path / "model.ts"))
    query = torch.randn(2, 1, 9, 8, 7)
    torch.testing.assert_close(torch.jit.load(str(tmp_path / "model.ts"))(query), net(query), rtol=0, atol=1e-5)


def test_in_bfloat16_it_learns_the_same_and_is_used_in_single_precision() -> None:
    """The gradient has almost the same direction; attention and use are in single precision."""
    torch.manual_seed(0)
    image, anchor = torch.rand(2, 1, 8, 8, 8), torch.rand(2, 1, 1, 8, 8, 8)
    mask = (torch.rand(2, 1, 1, 8, 8, 8) > 0.5).float()
    gradients, answers = [], []
    for half in (False, True):
        torch.manual_seed(1)
        net = OrganNet(channels=(4, 8), neighbourhoods=(3, 3), bfloat16=half)
        assert net.in_bfloat16 is half
        logits = net(image, anchor, mask)["logits"]
        assert logits.dtype == torch.float32
        logits.square().mean().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None]))
        answers.append(net.eval()(image, anchor, mask)["logits"])
    assert not torch.equal(*gradients) and torch.cosine_similarity(*gradients, dim=0) > 0.99
    assert torch.equal(*answers)
