# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CRAPNet: its equations by plain loops, and what the paper leaves open."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from crapnet_scene import scene, small
from known_features import Pixels
from torch import nn

from monai_fss.losses import PrototypeLoss
from monai_fss.networks.blocks import reassemble_down
from monai_fss.networks.nets import CRAPNet, build_encoder


def class_score(pixel: torch.Tensor, prototypes: list[torch.Tensor], alpha: float = 20.0) -> float:
    """Eqs. 16 and 17: sum of S times softmax(S)."""
    s = [alpha * float(torch.cosine_similarity(pixel, p, dim=0)) for p in prototypes]
    total = sum(math.exp(x) for x in s)
    return sum(x * math.exp(x) / total for x in s)


@torch.no_grad()
def by_hand(net: CRAPNet, query: torch.Tensor, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Logits (H, W) of one query (C, H, W) on the grid itself, one support slice (C, H, W), label (H, W)."""
    x_s, x_q = image[None], query[None]
    z_s, z_q = net.attention(x_s, x_q)
    kernels = net.reassembly.kernels(z_s)
    local = reassemble_down(z_s, kernels, net.reassembly.factor)[0].flatten(1)
    share = reassemble_down(label[None, None], kernels, net.reassembly.factor).flatten()
    foreground = [p for p, s in zip(local.T, share, strict=True) if s > net.threshold]
    background = [p for p, s in zip(local.T, share, strict=True) if 1 - s > net.threshold]
    whole = (z_s if net.refined else x_s)[0]
    foreground.append(whole[:, label > 0].mean(1))
    background = background or [whole[:, label == 0].mean(1)]
    pixels = (z_q if net.refined else x_q)[0]
    result = torch.zeros(label.shape)
    for y, x in np.ndindex(*label.shape):
        result[y, x] = class_score(pixels[:, y, x], foreground) - class_score(pixels[:, y, x], background)
    return result


MASKS = {  # of 8 x 8 cells; the four windows of 5 x 5 are centred on rows and columns 2 and 6
    "class and local background": (slice(0, 2), slice(0, 2)),
    "local foreground too": (slice(4, 8), slice(4, 8)),
    "no local background": (slice(0, 8, 2), slice(0, 8)),
}


@pytest.mark.parametrize("case", list(MASKS))
@pytest.mark.parametrize("refined", [True, False])
def test_logits_by_a_plain_loop(case: str, refined: bool) -> None:
    net = small(refined=refined)
    image, label = scene(1, 1)
    label.zero_()[0, 0, 0][MASKS[case]] = 1
    query = torch.randn(2, 6, 8, 8)
    with torch.no_grad():
        logits = net.condition(image, label)(query)
    assert torch.equal(logits[:, 0], torch.zeros(2, 8, 8))
    for n in range(2):
        torch.testing.assert_close(
            logits[n, 1], by_hand(net, query[n], image[0, 0], label[0, 0, 0]), rtol=1e-3, atol=1e-3
        )


def known(net: CRAPNet, mask: torch.Tensor) -> list[list[bool]]:
    """Which of four local prototypes and the class's count, background first."""
    features = torch.randn(1, 1, 6, 8, 8)
    return net._prototypes(features, features, mask[None, None, None])[1][0].tolist()


def test_which_prototypes_count() -> None:
    net = small(blocks=0)
    nn.init.zeros_(net.reassembly.encode.weight)  # plain means of 5 x 5
    expected = {
        "class and local background": ([False, True, True, True, False], [False] * 4 + [True]),
        "local foreground too": ([True, False, False, False, False], [False, False, False, True, True]),
        "no local background": ([False] * 4 + [True], [False] * 4 + [True]),
    }
    for name, place in MASKS.items():
        mask = torch.zeros(8, 8)
        mask[place] = 1
        assert known(net, mask) == [list(side) for side in expected[name]], name
    assert known(net, torch.ones(8, 8)) == [[False] * 5, [True] * 5]
    assert known(net, torch.zeros(8, 8)) == [[False] * 5, [False] * 5]  # padding
    net.threshold = 0.5
    half = torch.zeros(8, 8)
    half[MASKS["no local background"]] = 1
    # Three of the rows 0 to 4, and two of the rows 4 to 8, of which the last repeats row 7.
    assert known(net, half) == [[False, False, True, True, False], [True, True, False, False, True]]


def test_a_support_equal_to_the_query_has_weights_of_one() -> None:
    net = small()
    features = torch.randn(1, 6, 8, 8)
    for block in [*net.attention.support_blocks[:1], *net.attention.query_blocks[:1]]:
        torch.testing.assert_close(block.weights(features, features), torch.ones(1, 1, 8, 8))


def test_the_support_features_depend_on_the_query() -> None:
    net = small(refined=False)  # the query's own features stay
    image, label = scene(1, 1)
    net.condition(image, label)
    one, other = torch.randn(2, 1, 6, 8, 8)
    with torch.no_grad():
        together, alone = net(torch.cat([one, other])), net(one)
        torch.testing.assert_close(together[:1], alone)
        z = [net.attention(net.support_features[0], q)[0] for q in (one, other)]
    assert not torch.allclose(*z, atol=1e-3)


def test_refined_or_as_printed() -> None:
    """Eqs. 15 and 16 print the encoder's features, by which the query's branch would have no effect."""
    image, label = scene(1, 1)
    query = torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        for refined, moves in ((True, True), (False, False)):
            net = small(refined=refined).condition(image, label)
            before = net(query)
            assert len(net.attention.query_blocks) == (2 if refined else 0)
            for block in net.attention.query_blocks:
                nn.init.zeros_(block.out.weight)
            assert torch.allclose(net(query), before) != moves
    with pytest.raises(ValueError, match="single branch updates support and query together"):
        small(refined=False, branches=1)


def test_blocks_and_branches_change_the_logits() -> None:
    image, label = scene(1, 1)
    query = torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        found = [
            small(blocks=b, branches=n).condition(image, label)(query) for b, n in ((0, 2), (1, 2), (3, 2), (3, 1))
        ]
    for i, a in enumerate(found):
        assert not any(torch.allclose(a, b, atol=1e-2) for b in found[:i])


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_the_grid_is_32_whatever_the_stride(stride: int) -> None:
    torch.manual_seed(0)
    net = CRAPNet(Pixels(6, stride), blocks=1, cell=2).eval()
    image, label = scene(2, 1, size=64)
    net.condition(image, label)
    assert net.support_features.shape == (2, 1, 6, 32, 32) and net.support_masks.shape == (2, 1, 1, 32, 32)
    prototypes, valid = net._prototypes(net.support_features, net.support_features, net.support_masks)
    assert prototypes.shape == (2, 2, 8 * 8 + 1, 6) and valid.shape == (2, 2, 65)
    torch.testing.assert_close(net.support_masks[:, 0, 0], F.avg_pool2d(label[:, 0, 0], 2))
    seen = []
    net.attention.register_forward_hook(lambda _, inputs, __: seen.append([tuple(x.shape[2:]) for x in inputs]))
    assert net(torch.randn(1, 6, 48, 80)).shape == (1, 3, 48, 80)
    assert seen == [[(32, 32), (24, 40)]] * 2, "cells are as large in a slice of another size"


def test_the_query_is_classified_at_the_encoders_resolution() -> None:
    net = small(blocks=0, cell=2)
    image, label = scene(1, 1, size=16)
    query = torch.randn(1, 6, 16, 16)
    with torch.no_grad():
        logits = net.condition(image, label)(query)[0, 1]
        prototypes, valid = net._prototypes(net.support_features, net.support_features, net.support_masks)
    banks = [[p for p, v in zip(*side, strict=True) if v] for side in zip(prototypes[0], valid[0], strict=True)]
    for y, x in ((3, 4), (3, 5), (15, 0)):
        expected = class_score(query[0, :, y, x], banks[1]) - class_score(query[0, :, y, x], banks[0])
        assert logits[y, x].item() == pytest.approx(expected, abs=1e-3)


def test_shots() -> None:
    """Padding does not count, a shot twice is that shot, and two shots are their mean."""
    net = small()
    image, label = scene(1, 3)
    query = torch.randn(2, 6, 8, 8)
    with torch.no_grad():
        two = net.condition(image[:, :2], label[:, :2])(query)
        padded = label * torch.tensor([1.0, 1.0, 0.0]).reshape(1, 3, 1, 1, 1)
        torch.testing.assert_close(net.condition(image, padded)(query), two)
        order = [2, 0, 1]
        torch.testing.assert_close(net.condition(image[:, order], padded[:, order])(query), two)
        one = net.condition(image[:, :1], label[:, :1])
        assert not torch.allclose(one(query), two, atol=1e-2)
        features, masks = net.support_features, net.support_masks
        single = net._prototypes(features, features, masks)[0]
        net.condition(image[:, :2], label[:, :2])
        prototypes, valid = net._prototypes(net.support_features, features, net.support_masks)
    # Local prototypes of both shots, then the class's: the mean of those of the shots.
    other = image[0, 1][:, label[0, 1, 0] > 0].mean(1)
    torch.testing.assert_close(prototypes[0, 1, -1], (single[0, 1, -1] + other) / 2)
    assert prototypes.shape[2] == 2 * 4 + 1 and valid[0, 1, -1]


def test_the_query_is_the_mean_over_the_shots_of_what_each_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    image, label = scene(1, 3)
    label[0, 2] = 0
    query, seen = torch.randn(1, 6, 8, 8), []
    monkeypatch.setattr(
        "monai_fss.networks.nets.crapnet.softmax_similarity",
        lambda features, *_: seen.append(features) or features[:, :2],
    )
    with torch.no_grad():
        net.condition(image, label)(query)
        expected = sum(net.attention(image[:, s], query)[1] for s in (0, 1)) / 2
    torch.testing.assert_close(seen[0], expected)


def test_aligned_branch_is_the_reversed_roles() -> None:
    """Eq. 19: the query under its predicted mask is the support; the blocks are gone through again."""
    net = small()
    image, label = scene(2, 2)
    query = torch.randn(2, 6, 8, 8)
    with torch.no_grad():
        out = net(query, image, label)
        predicted = (out["logits"][:, 1:] > 0).float()
        assert out["aligned"].tolist() == [True, True] and 0 < predicted.mean() < 1
        for n in range(2):
            reverse = net.condition(query[n][None, None], predicted[n][None, None])(image[n])
            torch.testing.assert_close(out["aligned_logits"][n], reverse, rtol=1e-4, atol=1e-4)


def test_an_empty_predicted_mask_is_aligned_by_the_background_alone() -> None:
    net = small(blocks=0)
    image, label = scene(1, 1)
    image = torch.where(label > 0, 1.0, -1.0).expand_as(image)
    out = net(
        torch.stack([image[0, 0], -torch.ones(6, 8, 8)]), image.repeat(2, 1, 1, 1, 1), label.repeat(2, 1, 1, 1, 1)
    )
    assert out["aligned"].tolist() == [True, True]
    # The query is -1 everywhere, so that its background is: 20 against what is 1, -20 against what is -1.
    torch.testing.assert_close(out["aligned_logits"][1, 0, 1], torch.where(label[0, 0, 0] > 0, 20.0, -20.0))


def test_loss_by_hand() -> None:
    """Eqs. 18-20: weighted over the query, plain over the support, as in SSL-ALPNet's code; lambda 1."""
    net = small().train()
    image, label = scene(2, 1)
    truth = label[:, 0].roll(1, -1)
    with torch.no_grad():
        out = net(torch.randn(2, 6, 8, 8), image, label)
        got = PrototypeLoss()(out, truth).item()
    losses = []
    for n in range(2):
        parts = []
        for logits, mask, weights in (
            (out["logits"][n], truth[n, 0], (0.05, 1.0)),
            (out["aligned_logits"][n, 0], label[n, 0, 0], (1.0, 1.0)),
        ):
            total = norm = 0.0
            for y, x in np.ndindex(8, 8):
                k = int(mask[y, x])
                total -= weights[k] * float(torch.log_softmax(logits[:, y, x], 0)[k])
                norm += weights[k]
            parts.append(total / norm)
        losses.append(parts[0] + float(out["aligned"][n]) * parts[1])
    assert got == pytest.approx(sum(losses) / 2, rel=1e-4)


def test_an_exported_graph_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding shots are refined in vain, and cells are means of whole pixels of the feature map."""
    torch.manual_seed(0)
    network = CRAPNet(build_encoder("compact", in_channels=1), blocks=1).eval()
    torch.nn.init.normal_(network.attention.query_blocks[0].out.weight, std=0.1)
    label = torch.zeros(2, 2, 1, 32, 32)
    label[0, 0, 0, 8:20, 8:20] = label[1, :, 0, 4:30, 10:30] = 1
    network.condition(torch.rand(2, 2, 1, 32, 32), label)
    image = torch.rand(2, 1, 64, 32)
    with torch.no_grad():
        expected = network(image)
        for module in ("nets.crapnet", "blocks.local_prototype", "blocks.cycle_resemblance"):
            monkeypatch.setattr(sys.modules[f"monai_fss.networks.{module}"], "exporting", lambda: True)
        torch.testing.assert_close(network(image), expected, rtol=0, atol=1e-5)
