# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""RP-Net: correlation and registration against what is known, and the passes from the registered mask on."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from known_features import Pixels, random_support
from torch import nn

from monai_fss.losses import OrganNetLoss
from monai_fss.networks.blocks import ContextRelation, affine_maps, correlation_window, mapped
from monai_fss.networks.nets import RPNet, build_encoder
from monai_fss.networks.nets.rpnet import first_mask


def test_the_correlation_window_is_that_of_a_plain_loop() -> None:
    torch.manual_seed(0)
    a, b, radius = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6), 2
    found = correlation_window(a, b, radius)
    assert found.shape == (2, 25, 5, 6)
    for n, (dy, dx) in enumerate((y, x) for y in range(-2, 3) for x in range(-2, 3)):
        for y in range(5):
            for x in range(6):
                inside = 0 <= y + dy < 5 and 0 <= x + dx < 6
                other = b[:, :, y + dy, x + dx] if inside else torch.zeros(2, 3)
                expected = (a[:, :, y, x] * other).sum(1) / math.sqrt(3)
                torch.testing.assert_close(found[:, n, y, x], expected, rtol=1e-4, atol=1e-5)


def body(count: int, size: tuple[int, int] = (96, 80)) -> torch.Tensor:
    """Smooth slices of a round body."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    texture = F.interpolate(torch.randn(count, 1, 9, 9), size=size, mode="bicubic").clamp(-2, 2)
    return (texture + 3) * (y**2 + x**2 < 0.6)


def turned(degrees: float, scale: float, x: float, y: float) -> torch.Tensor:
    a = math.radians(degrees)
    rows = [[scale * math.cos(a), -scale * math.sin(a), x], [scale * math.sin(a), scale * math.cos(a), y]]
    return torch.tensor(rows)[None]


def test_slices_are_found_where_they_were_moved_to() -> None:
    """Within a pixel and a half, everywhere in the body; a slice that has not moved stays exactly."""
    torch.manual_seed(0)
    image = body(4)
    known = torch.cat([turned(0, 1, 0, 0), turned(8, 1.1, 4, 2), turned(-10, 0.9, -5, 3), turned(4, 1, 0, -6)])
    found, left = affine_maps(image, mapped(image, known, [96, 80]))
    angle = torch.linspace(0, 2 * math.pi, 12)
    places = torch.stack([30 * angle.cos(), 30 * angle.sin(), torch.ones(12)])
    assert ((found - known) @ places).norm(dim=1).max() < 1.5
    torch.testing.assert_close(found[0], known[0], rtol=0, atol=1e-4)
    assert left[0] < 1e-6 and (left < 0.2).all()


def test_what_cannot_be_registered_stays_as_it_lies() -> None:
    found, _ = affine_maps(torch.zeros(1, 1, 32, 32), torch.rand(1, 1, 64, 48))
    assert torch.equal(found[0], torch.eye(2, 3))


def test_a_place_is_counted_in_pixels_from_the_middle() -> None:
    image = torch.zeros(1, 1, 9, 11)
    image[..., 6, 3] = 1  # y 2, x -2 from the middle
    found = mapped(image, torch.tensor([[[1.0, 0, -1], [0, 1, 2]]]), [9, 11])
    assert found[0, 0].nonzero().tolist() == [[4, 4]] and found.sum() == pytest.approx(1)


def test_the_first_mask_is_that_of_the_shot_that_fits_best() -> None:
    torch.manual_seed(0)
    slices = body(3, (64, 64))
    masks = torch.zeros(3, 1, 64, 64)
    masks[0, :, 20:30, 20:30] = masks[1, :, 35:45, 25:40] = 1  # the third is padding
    query = mapped(slices, turned(0, 1, 4, 0).expand(3, -1, -1), [64, 64])
    expected = mapped(masks, turned(0, 1, 4, 0).expand(3, -1, -1), [64, 64])
    found = first_mask(query, *(x[None].expand(3, -1, -1, -1, -1) for x in (slices, masks)))
    for n in (0, 1):
        overlap = (found[n] * expected[n]).sum() * 2 / (found[n] + expected[n]).sum()
        assert overlap > 0.85
    assert found[2].any(), "the padding fits best, and has no mask"


class Share(nn.Module):
    """Relations whose first channel is the share of the mask, and the other what it leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.seen.append(mask)
        grown = F.max_pool2d(mask, 3, stride=1, padding=1)
        return torch.cat([grown, 1 - grown], dim=1)


@pytest.mark.parametrize(("training", "passes"), [(True, 2), (False, 4)])
def test_each_pass_sees_the_mask_of_the_one_before(training: bool, passes: int) -> None:
    """Relations that grow a mask by a pixel: so does each pass."""
    net = RPNet(Pixels(1), channels=4, passes=4, train_passes=2).train(training)
    net.relation = Share()  # type: ignore[assignment]
    label = torch.zeros(1, 1, 1, 32, 32)
    label[..., 15:17, 14:18] = 1
    torch.manual_seed(0)
    image = body(1, (32, 32))
    logits = net(image, image[None], label)["logits"]
    widths = [int(mask[0, 0].any(0).sum()) for mask in net.relation.seen[1:]]
    assert widths == [4 + 2 * n for n in range(passes)]
    assert int((logits[0, 1] > 0).any(0).sum()) == 4 + 2 * passes


def test_relations_see_inside_and_outside_apart() -> None:
    torch.manual_seed(0)
    block = ContextRelation(3, 4, radius=1).eval()
    features = torch.randn(1, 3, 9, 9)
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., :4] = 1
    found = block(features, mask)
    inside, outside = block.inside(features * mask), block.outside(features * (1 - mask))
    expected = block.merged(torch.cat([correlation_window(inside, outside, 1), inside], dim=1))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, block(features, 1 - mask))


def test_every_weight_takes_part_in_every_step() -> None:
    torch.manual_seed(0)
    net = RPNet(build_encoder("compact"), channels=8, train_passes=2).train()
    image, label = random_support(2, 1, 1, 32)
    for mask in (label, label * 0):
        net.zero_grad()
        OrganNetLoss()(net(image[:, 0], image, mask), label[:, 0]).backward()
        idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert idle == []


def test_conditioned_network_equals_the_episode() -> None:
    torch.manual_seed(0)
    net = RPNet(build_encoder("compact"), channels=8, passes=3).eval()
    support_image, support_label = random_support(2, 2, 1, 32)
    support_label[1, 1] = 0  # padding
    query = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        episode = net(query, support_image, support_label)
        for n in range(2):
            net.condition(support_image[n : n + 1], support_label[n : n + 1])
            torch.testing.assert_close(net(query[n : n + 1]), episode["logits"][n : n + 1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("bad", [{"channels": 0}, {"radius": 0}, {"passes": 0}, {"train_passes": 0}])
def test_arguments_are_checked(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        RPNet(Pixels(), **bad)
