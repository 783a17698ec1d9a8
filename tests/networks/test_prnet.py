# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet: its size, its outputs, and that it learns where a patch lies."""

from __future__ import annotations

import pytest
import torch

from monai_fss.losses import PRNetLoss
from monai_fss.networks.nets import PRNet


def small(reach: tuple[float, float, float] = (50.0, 40.0, 30.0)) -> PRNet:
    torch.manual_seed(0)
    return PRNet((32, 16, 16), base=4, reach=reach)


def test_parameters_of_the_paper() -> None:
    assert sum(p.numel() for p in PRNet().parameters()) == 10_400_516


def test_outputs() -> None:
    net, patches = small().eval(), torch.rand(3, 1, 32, 16, 16)
    with torch.no_grad():
        found = net(patches)
        assert found.position.shape == (3, 3) and found.reconstruction.shape == patches.shape
        assert found.anatomical.shape == (3, 16) and found.pixel.shape == (3, 4)
        torch.testing.assert_close(net.position(patches), found.position)
        alone = net(patches[1:2])  # no batch statistics
    for name in ("position", "anatomical", "pixel"):
        torch.testing.assert_close(getattr(found, name)[1:2], getattr(alone, name), rtol=1e-4, atol=1e-4)


def test_features_are_those_of_the_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = small().eval(), []
    for block in net.decoder:
        block.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        found = net(torch.rand(2, 1, 32, 16, 16))
    assert [tuple(level.shape[1:]) for level in seen] == [(32, 4, 2, 2), (16, 8, 4, 4), (4, 16, 8, 8), (4, 32, 16, 16)]
    assert torch.equal(found.anatomical, seen[1][:, :, 4, 2, 2]) and torch.equal(found.pixel, seen[3][:, :, 16, 8, 8])


def test_offsets_are_bounded_and_opposite() -> None:
    net = small()
    a, b = torch.randn(5, 3) * 10, torch.randn(5, 3) * 10
    torch.testing.assert_close(net.offset(a, b), -net.offset(b, a))
    assert (net.offset(a, b).abs() <= torch.tensor([50.0, 40.0, 30.0])).all()
    torch.testing.assert_close(net.offset(torch.full((1, 3), 0.5), torch.zeros(1, 3)), net.reach[None] * 0.46211716)


def test_it_learns_where_a_patch_lies() -> None:
    """A bright sheet says where one is (not a ramp: instance norm takes the patch's mean away)."""
    net = small()
    ramp = torch.exp(-((torch.arange(64.0) - 31.5) ** 2) / 18).reshape(64, 1, 1).expand(64, 16, 16)
    starts = torch.randint(4, 28, (2, 8))
    patches = torch.stack([torch.stack([ramp[s : s + 32] for s in row])[:, None] for row in starts.tolist()])
    true = torch.zeros(8, 3)
    true[:, 0] = (starts[0] - starts[1]).float()
    optimizer, loss, values = torch.optim.Adam(net.parameters(), lr=1e-3), PRNetLoss(), []
    for _ in range(60):
        one, two = net(patches[0]), net(patches[1])
        value = loss(
            net.offset(one.position, two.position), true, torch.stack([one.reconstruction, two.reconstruction]), patches
        )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.3 * values[0]


def test_loss_by_hand() -> None:
    offset, true = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 4.0, 3.0]])
    patches = torch.stack([torch.full((1, 1, 2, 2, 2), 0.5), torch.full((1, 1, 2, 2, 2), 1.0)])
    logits = torch.zeros_like(patches)
    assert PRNetLoss()(offset, true, logits, patches).item() == pytest.approx(5 / 3 + 0 + 0.25)
    assert PRNetLoss(0.0)(offset, true, logits, patches).item() == pytest.approx(5 / 3)


def test_arguments_are_checked() -> None:
    with pytest.raises(
        ValueError, match=r"patch_size must be \(H, W, slices\), each a multiple of 16 .* got \(32, 20, 16\)"
    ):
        PRNet((32, 20, 16))
    with pytest.raises(ValueError, match=r"reach \(1.0, 0.0, 1.0\) must be three positive mm, and base 16"):
        PRNet(reach=(1.0, 0.0, 1.0))
    with pytest.raises(
        ValueError, match=r"patches are \(16, 16, 16\) voxels, but the network was built for \(32, 16, 16\)"
    ):
        small()(torch.rand(1, 1, 16, 16, 16))
    with pytest.raises(ValueError, match="reconstruction must be at least 0, got -1"):
        PRNetLoss(-1)
