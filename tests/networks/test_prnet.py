# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet: its size, its outputs, and that it learns where a patch lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from monai_fss.losses import PRNetLoss
from monai_fss.networks.nets import PatchFeatures, PRNet


def small(reach: tuple[float, float, float] = (50.0, 40.0, 30.0)) -> PRNet:
    torch.manual_seed(0)
    return PRNet((32, 16, 16), base=4, reach=reach, bfloat16=False)


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


def test_only_the_first_patches_are_rebuilt() -> None:
    net, patches = small().eval(), torch.rand(5, 1, 32, 16, 16)
    with torch.no_grad():
        whole, part = net(patches), net(patches, 2)
    torch.testing.assert_close(part.position, whole.position)
    for name in ("anatomical", "pixel", "reconstruction"):
        assert len(getattr(part, name)) == 2
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[:2], rtol=1e-4, atol=1e-4)


def test_bfloat16_is_for_training_alone() -> None:
    exact, fast, patches = small(), small(), torch.rand(4, 1, 32, 16, 16)
    fast.in_bfloat16 = True
    with torch.no_grad():
        a, b = exact(patches), fast(patches)
        assert all(x.dtype == torch.float32 for x in b)
        assert not torch.equal(a.position, b.position) and (a.position - b.position).abs().max() < 0.1
        torch.testing.assert_close(exact.eval()(patches).position, fast.eval()(patches).position)


def test_it_scripts_and_gives_the_same(tmp_path: Path) -> None:
    net, patches = small().eval(), torch.rand(2, 1, 32, 16, 16)
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    scripted = torch.jit.load(tmp_path / "net.ts")
    with torch.no_grad():
        for a, b in zip(net(patches), scripted(patches), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scripted.position(patches), net.position(patches))


def test_it_learns_where_a_patch_lies() -> None:
    """A bright sheet says where one is (not a ramp: instance norm takes the patch's mean away)."""
    net = small()
    ramp = torch.exp(-((torch.arange(64.0) - 31.5) ** 2) / 18).reshape(64, 1, 1).expand(64, 16, 16)
    starts = torch.randint(4, 28, (2, 4))
    patches = torch.stack([ramp[s : s + 32] for s in starts.flatten().tolist()])[:, None]
    place = torch.zeros(2, 4, 3)
    place[..., 0] = starts.float()
    optimizer, loss, values = torch.optim.Adam(net.parameters(), lr=3e-4), PRNetLoss((50, 40, 30)), []
    for _ in range(60):
        value = loss(net(patches, 2), {"place": place, "patches": patches})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.3 * values[0]


def features(position: torch.Tensor, reconstruction: torch.Tensor) -> PatchFeatures:
    return PatchFeatures(position, torch.zeros(0), torch.zeros(0), reconstruction)


def test_loss_by_hand() -> None:
    """Every two of three patches of a scan are a pair; two of its six patches are rebuilt."""
    position = torch.tensor([[0.1, 0, 0], [0.3, 0, 0], [0.2, 0.4, 0], [0.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0]])
    place = torch.tensor([[[0.0, 0, 0], [4.0, 0, 0], [0.0, 6, 0]], [[1.0, 1, 1]] * 3])
    patches = torch.cat([torch.full((1, 1, 2, 2, 2), 0.5), torch.full((5, 1, 2, 2, 2), 1.0)])
    seen = features(position, torch.zeros(2, 1, 2, 2, 2))
    reach, squares = np.array([10.0, 20.0, 30.0]), []
    for scan in range(2):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            difference = (position[3 * scan + a] - position[3 * scan + b]).numpy()
            squares.append((reach * np.tanh(difference) - (place[scan, a] - place[scan, b]).numpy()) ** 2)
    distance = np.mean(squares)
    target = {"place": place, "patches": patches}
    assert PRNetLoss(reach)(seen, target).item() == pytest.approx(distance + 2 * (0 + 0.25) / 2, rel=1e-5)
    assert PRNetLoss(reach, 0.0)(seen, target).item() == pytest.approx(distance, rel=1e-5)
    nothing = features(position, torch.zeros(0))
    assert PRNetLoss(reach)(nothing, target).item() == pytest.approx(distance, rel=1e-5)


def test_a_pair_is_the_papers_loss() -> None:
    """Eqs. 2 and 3 for two patches."""
    position, reach = torch.tensor([[0.2, 0.1, 0.0], [0.0, 0.0, 0.3]]), (50.0, 40.0, 30.0)
    place = torch.tensor([[[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]]])
    patches, logits = torch.rand(2, 1, 2, 2, 2), torch.rand(2, 1, 2, 2, 2)
    offset = torch.tensor(reach) * torch.tanh(position[0] - position[1])
    rebuilt = ((torch.sigmoid(logits) - patches) ** 2).flatten(1).mean(1)
    expected = ((offset - (place[0, 0] - place[0, 1])) ** 2).mean() + rebuilt[0] + rebuilt[1]
    torch.testing.assert_close(
        PRNetLoss(reach)(features(position, logits), {"place": place, "patches": patches}), expected
    )


def test_arguments_are_checked() -> None:
    with pytest.raises(
        ValueError, match=r"patch_size must be \(H, W, slices\), each a multiple of 16 .* got \(32, 20, 16\)"
    ):
        PRNet((32, 20, 16))
    with pytest.raises(ValueError, match=r"reach \(1.0, 0.0, 1.0\) and spacing .* three positive mm each, and base 16"):
        PRNet(reach=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match=r"spacing \(1.0, -1.0, 1.0\)"):
        PRNet(spacing=(1.0, -1.0, 1.0))
    with pytest.raises(
        ValueError, match=r"patches are \[16, 16, 16\] voxels, but the network was built for \[32, 16, 16\]"
    ):
        small()(torch.rand(1, 1, 16, 16, 16))
    with pytest.raises(ValueError, match="reconstruction must be at least 0, got -1"):
        PRNetLoss((1, 1, 1), -1)
