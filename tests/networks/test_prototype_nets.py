# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PANet and ALPNet: values by hand on encoders whose features are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from known_features import Pixels, directions

from monai_fss.losses import PrototypeLoss
from monai_fss.networks.blocks import masked_average_pooling
from monai_fss.networks.nets import ALPNet, PANet

NETS = [PANet, ALPNet]


def softmax_sum(distances: list[float]) -> float:
    weights = np.exp(np.array(distances) - max(distances))
    return float((weights / weights.sum() * distances).sum())


def cos(degrees: float) -> float:
    return 20 * math.cos(math.radians(degrees))


def test_panet_is_foreground_minus_background_similarity() -> None:
    net = PANet(Pixels()).eval()
    label = torch.zeros(1, 1, 1, 2, 2)
    label[..., 0, 0] = 1
    net.condition(directions([[0, 90], [90, 90]])[None, None], label)
    torch.testing.assert_close(net.prototypes[0, :, 0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]), rtol=0, atol=2e-5)
    logits = net(directions([[0, 30], [60, 200]])[None])
    assert torch.equal(logits[:, 0], torch.zeros(1, 2, 2))
    expected = torch.tensor([[cos(a) - cos(90 - a) for a in row] for row in ((0, 30), (60, 200))])
    torch.testing.assert_close(logits[0, 1], expected, rtol=0, atol=1e-3)
    # ... which is the logit of the paper's probability, a softmax over both similarities
    p = math.exp(cos(30)) / (math.exp(cos(30)) + math.exp(cos(60)))
    assert torch.softmax(logits, 1)[0, 1, 0, 1].item() == pytest.approx(p, abs=1e-5)


@pytest.mark.parametrize("padding", [False, True])
def test_panet_prototypes_of_two_shots_are_their_mean(padding: bool) -> None:
    torch.manual_seed(0)
    net = PANet(Pixels(3)).eval()
    image = torch.randn(1, 3 if padding else 2, 3, 6, 6)
    label = (torch.rand(1, image.shape[1], 1, 6, 6) > 0.6).float()
    label[:, 2:] = 0
    net.condition(image, label)
    for side, mask in enumerate((1 - label, label)):
        shots = [masked_average_pooling(image[0, s][None], mask[0, s][None])[0] for s in (0, 1)]
        torch.testing.assert_close(net.prototypes[0, side, 0], (shots[0] + shots[1]) / 2)
    assert net.valid.all()


def test_a_class_that_is_everywhere_has_no_background() -> None:
    net = PANet(Pixels()).eval()
    net.condition(directions([[0, 0], [0, 0]])[None, None], torch.ones(1, 1, 1, 2, 2))
    assert net.valid[0, :, 0].tolist() == [False, True]
    logits = net(directions([[0, 30], [60, 180]])[None])
    torch.testing.assert_close(logits[0, 1, 0], torch.tensor([cos(0), cos(30)]), rtol=0, atol=1e-3)


def quarters() -> tuple[torch.Tensor, torch.Tensor]:
    """An 8 x 8 slice of four directions, 2 x 2 cells of 4; the mask has cell (0, 0) and a quarter of cell (0, 1)."""
    image = directions(np.repeat(np.repeat([[0.0, 90.0], [180.0, 250.0]], 4, axis=0), 4, axis=1))
    label = torch.zeros(1, 8, 8)
    label[:, :4, :4] = 1
    label[:, :2, 4:6] = 1
    return image, label


def test_alpnet_on_a_grid_whose_cells_are_known() -> None:
    net = ALPNet(Pixels(), train_cell=4, cell=4).eval()  # 2 x 2 cells
    image, label = quarters()
    net.condition(image[None, None], label[None, None])
    assert net.valid.sum(2).tolist() == [[2, 2]]  # cells (1, 0), (1, 1); cell (0, 0) and the whole mask
    whole = (16 * directions([[0]]) + 4 * directions([[90]])).flatten() / 20
    known = torch.stack([directions([[a]]).flatten() for a in (180, 250, 0)] + [whole])
    torch.testing.assert_close(net.prototypes[0].flatten(0, 1), known, rtol=0, atol=1e-4)
    mean = math.degrees(math.atan2(4, 16))
    logits = net(directions([[0, 20], [100, 215]])[None])[0, 1]
    for (y, x), angle in zip(np.ndindex(2, 2), (0, 20, 100, 215), strict=True):
        foreground = softmax_sum([cos(angle), cos(angle - mean)])
        background = softmax_sum([cos(angle - 180), cos(angle - 250)])
        assert logits[y, x].item() == pytest.approx(foreground - background, abs=2e-3)


def test_alpnet_uses_the_global_prototype_alone_where_no_cell_is_covered() -> None:
    net = ALPNet(Pixels(), train_cell=4, cell=4).eval()
    image, label = quarters()
    label[:, :4, :4] = 0  # what is left covers a quarter of a cell
    net.condition(image[None, None], label[None, None])
    assert net.valid.sum(2).tolist() == [[3, 1]]
    torch.testing.assert_close(net.prototypes[0, 1, 0], torch.tensor([0.0, 1.0]), rtol=0, atol=1e-5)
    assert net(directions([[90]])[None])[0, 1, 0, 0].item() == pytest.approx(
        20 - softmax_sum([cos(90), cos(90), cos(160)]), abs=1e-3
    )


def test_alpnet_background_without_a_cell_falls_back_to_its_mean() -> None:
    net = ALPNet(Pixels(), cell=8).eval()  # one cell
    image, label = quarters()
    net.condition(image[None, None], label[None, None])
    assert net.valid.sum(2).tolist() == [[1, 1]]
    expected = masked_average_pooling(image[None], 1 - label[None])[0]
    torch.testing.assert_close(net.prototypes[0, 0, 0], expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_alpnet_has_a_coarser_grid_in_the_episodes_of_a_training(training: bool, stride: int) -> None:
    """Cells of 16 and 8 pixels of the image, whatever its size, the encoder's stride and the mode."""
    net = ALPNet(Pixels(3, cell=stride)).train(training)
    image, label = torch.randn(1, 1, 3, 96, 64), torch.zeros(1, 1, 1, 96, 64)
    label[..., :32, :48] = 1  # 2 x 3 of 6 x 4 cells, 4 x 6 of 12 x 8
    net.condition(image, label)
    assert net.valid.sum(2).tolist() == [[96 - 24, 24 + 1]]
    _, valid = net.pool(net.encoder(image[0])[None], label, (96, 64), episode=True)
    assert valid.sum(2).tolist() == [[24 - 6, 6 + 1]]


def test_alpnet_foreground_needs_a_cell_of_the_training_grid() -> None:
    """As in the published code: 4 x 4 pixels of its map, though 2 x 2 make the prototypes in use."""
    net = ALPNet(Pixels(3))
    image, label = torch.randn(1, 1, 3, 64, 64), torch.zeros(1, 1, 1, 64, 64)
    label[..., 8:24, 8:24] = 1  # four cells of 8 pixels, none of 16
    assert net.condition(image, label).valid.sum(2).tolist() == [[64 - 4, 1]]
    label[..., 16:32, 16:32] = 1
    assert net.condition(image, label).valid.sum(2).tolist() == [[64 - 7, 7 + 1]]


@pytest.mark.parametrize("cls", NETS)
def test_aligned_branch_is_the_reversed_roles(cls: type[PANet]) -> None:
    """The query with its predicted mask conditions the network, and segments each support shot."""
    torch.manual_seed(0)
    net = cls(Pixels(3))  # features of the image's size: the predicted mask is that of the logits
    support_image, query = torch.randn(2, 2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    support_label = (torch.rand(2, 2, 1, 8, 8) > 0.5).float()
    with torch.no_grad():
        out = net(query, support_image, support_label)
        predicted = (out["logits"][:, 1:] > 0).float()
        assert out["aligned"].all() and 0 < predicted.mean() < 1
        for n in range(2):
            net.condition(query[n][None, None], predicted[n][None, None])
            torch.testing.assert_close(net(support_image[n]), out["aligned_logits"][n], rtol=1e-4, atol=1e-4)


def test_panet_alignment_by_hand() -> None:
    """A query that is the support turned by 10 degrees segments it perfectly, and its prototypes segment it back."""
    net = PANet(Pixels())
    support, label = directions([[0, 0], [90, 90]]), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    out = net(directions([[10, 10], [100, 100]])[None], support[None, None], label[None, None])
    assert (out["logits"][0, 1] > 0).tolist() == [[True, True], [False, False]]
    aligned = torch.tensor([[cos(10) - cos(100)] * 2, [cos(80) - cos(10)] * 2])  # prototypes at 10 and 100 degrees
    torch.testing.assert_close(out["aligned_logits"][0, 0, 1], aligned, rtol=0, atol=1e-2)


@pytest.mark.parametrize("cls", NETS)
def test_an_empty_predicted_mask_is_aligned_by_alpnet_alone(cls: type[PANet]) -> None:
    net = cls(Pixels())
    image, label = directions([[0, 90], [90, 90]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    query = torch.stack([directions([[0, 0], [0, 0]]), directions([[90, 90], [90, 90]])])
    out = net(query, image.expand(2, 1, -1, -1, -1), label.expand(2, 1, -1, -1, -1))
    assert out["aligned"].tolist() == [True, cls is ALPNet]
    # Without a foreground its similarity is 0; the background is at 90 degrees: 20 cos of what lies between.
    by_background = torch.tensor([[0.0, -20.0], [-20.0, -20.0]])
    expected = by_background if cls is ALPNet else torch.zeros(2, 2)
    torch.testing.assert_close(out["aligned_logits"][1, 0, 1], expected, rtol=0, atol=1e-4)
    alignment = (
        2 * PrototypeLoss(align=1.0)(out, label.expand(2, 1, -1, -1))
        - 2 * PrototypeLoss(align=0.0)(out, label.expand(2, 1, -1, -1))
    ).item()
    first = F.cross_entropy(out["aligned_logits"][0], label.long()).item()
    assert alignment == pytest.approx(first + (math.log(2) / 4 if cls is ALPNet else 0), abs=1e-4)


def test_no_gradient_flows_through_the_predicted_mask_but_through_its_features() -> None:
    torch.manual_seed(0)
    net = PANet(Pixels(3))
    query = torch.randn(1, 3, 4, 4, requires_grad=True)
    out = net(query, torch.randn(1, 1, 3, 4, 4), (torch.rand(1, 1, 1, 4, 4) > 0.5).float())
    (gradient,) = torch.autograd.grad(out["aligned_logits"].sum(), query)
    assert gradient.abs().sum() > 0 and torch.isfinite(gradient).all()


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"ways": 0}])
def test_panet_arguments(bad: dict) -> None:
    with pytest.raises(ValueError, match="alpha .* and ways .* must be positive"):
        PANet(Pixels(), **bad)


@pytest.mark.parametrize("bad", [{"cell": 0}, {"train_cell": -1}, {"threshold": 0}, {"threshold": 1}])
def test_alpnet_arguments(bad: dict) -> None:
    with pytest.raises(ValueError, match=r"must be positive, threshold .* in \(0, 1\)"):
        ALPNet(Pixels(), **bad)
