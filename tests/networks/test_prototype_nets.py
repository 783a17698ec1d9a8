# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PANet and ALPNet: values by hand on encoders whose features are known, the contract, TorchScript."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.data import ScanError, load_model, save_model
from monai_fss.networks.blocks import masked_average_pooling
from monai_fss.networks.nets import ALPNet, PANet, build_encoder

NETS = [PANet, ALPNet]


class Pixels(nn.Module):
    """Features are the image's channels, optionally averaged over cells."""

    def __init__(self, channels: int = 2, cell: int = 1) -> None:
        super().__init__()
        self.out_channels = channels
        self.cell = cell
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return F.avg_pool2d(x, self.cell)


def directions(degrees: list[list[float]] | np.ndarray) -> torch.Tensor:
    """(2, H, W) image of unit vectors."""
    angles = np.radians(np.asarray(degrees, dtype=float))
    return torch.tensor(np.stack([np.cos(angles), np.sin(angles)]), dtype=torch.float32)


def random_support(ways: int, shots: int, channels: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn(ways, shots, channels, size, size)
    label = torch.zeros(ways, shots, 1, size, size)
    label[..., 1 : size // 2, 2 : size // 2 + 3] = 1
    return image, label


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
    net = ALPNet(Pixels(), train_window=32, window=16).eval()  # 2 x 2 cells
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
    net = ALPNet(Pixels(), window=16).eval()
    image, label = quarters()
    label[:, :4, :4] = 0  # what is left covers a quarter of a cell
    net.condition(image[None, None], label[None, None])
    assert net.valid.sum(2).tolist() == [[3, 1]]
    torch.testing.assert_close(net.prototypes[0, 1, 0], torch.tensor([0.0, 1.0]), rtol=0, atol=1e-5)
    assert net(directions([[90]])[None])[0, 1, 0, 0].item() == pytest.approx(
        20 - softmax_sum([cos(90), cos(90), cos(160)]), abs=1e-3
    )


def test_alpnet_background_without_a_cell_falls_back_to_its_mean() -> None:
    net = ALPNet(Pixels(), window=32).eval()  # one cell
    image, label = quarters()
    net.condition(image[None, None], label[None, None])
    assert net.valid.sum(2).tolist() == [[1, 1]]
    expected = masked_average_pooling(image[None], 1 - label[None])[0]
    torch.testing.assert_close(net.prototypes[0, 0, 0], expected)


def test_alpnet_has_a_coarser_grid_in_training() -> None:
    """The published windows, 4 and 2 pixels of a 32 x 32 map, on a map of another size."""
    net = ALPNet(Pixels(3, cell=2))
    image, label = torch.randn(1, 1, 3, 96, 96), torch.zeros(1, 1, 1, 96, 96)
    label[..., :24, :36] = 1  # 2 x 3 of 8 x 8 cells, 4 x 6 of 16 x 16
    net.train().condition(image, label)
    assert net.valid.sum(2).tolist() == [[64 - 6, 6 + 1]]
    net.eval().condition(image, label)
    assert net.valid.sum(2).tolist() == [[256 - 24, 24 + 1]]


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
    net = cls(build_encoder("compact")).train(mode)
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
def test_an_empty_predicted_mask_is_not_aligned(cls: type[PANet]) -> None:
    net = cls(Pixels())
    image, label = directions([[0, 90], [90, 90]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    query = torch.stack([directions([[0, 0], [0, 0]]), directions([[90, 90], [90, 90]])])
    out = net(query, image.expand(2, 1, -1, -1, -1), label.expand(2, 1, -1, -1, -1))
    assert out["aligned"].tolist() == [True, False]
    assert torch.isfinite(out["aligned_logits"]).all()


@pytest.mark.parametrize("cls", NETS)
def test_an_episode_without_any_mask_trains_nothing(cls: type[PANet]) -> None:
    """Augmentation can push the pseudo-organ out of the window; every parameter still takes part in the step."""
    net = cls(build_encoder("compact"))
    out = net(torch.randn(1, 1, 32, 32), torch.randn(1, 1, 1, 32, 32), torch.zeros(1, 1, 1, 32, 32))
    assert torch.equal(out["logits"], torch.zeros(1, 2, 32, 32)) and not out["aligned"].any()
    (out["logits"].sum() + out["aligned_logits"].sum()).backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


def test_no_gradient_flows_through_the_predicted_mask_but_through_its_features() -> None:
    torch.manual_seed(0)
    net = PANet(Pixels(3))
    query = torch.randn(1, 3, 4, 4, requires_grad=True)
    out = net(query, torch.randn(1, 1, 3, 4, 4), (torch.rand(1, 1, 1, 4, 4) > 0.5).float())
    (gradient,) = torch.autograd.grad(out["aligned_logits"].sum(), query)
    assert gradient.abs().sum() > 0 and torch.isfinite(gradient).all()


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


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"ways": 0}])
def test_panet_arguments(bad: dict) -> None:
    with pytest.raises(ValueError, match="alpha .* and ways .* must be positive"):
        PANet(Pixels(), **bad)


@pytest.mark.parametrize("bad", [{"window": 0}, {"train_window": 33}, {"threshold": 0}, {"threshold": 1.1}])
def test_alpnet_arguments(bad: dict) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 32\], threshold .* in \(0, 1\]"):
        ALPNet(Pixels(), **bad)


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
        with pytest.raises(ScanError, match=f"another method or encoder than {other.__name__} .*cell_threshold"):
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
