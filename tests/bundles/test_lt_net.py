# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""LT-Net by values: the cycle, its losses, the label that is transferred, and the keys that its files share."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from installed_bundles import config_of
from monai.data import MetaTensor
from monai.losses import LocalNormalizedCrossCorrelationLoss
from scipy.ndimage import map_coordinates
from torch import nn

from monai_fss.inferers import LabelTransferInferer, WindowConfidence, found_in
from monai_fss.inferers import atlas as atlas_module
from monai_fss.inferers.one_shot.aligned import field_of_flow
from monai_fss.losses import LTNetLoss, roughness
from monai_fss.networks.nets import LTNet
from monai_fss.registration import DisplacementField, Grid, RegistrationError, resample

parsed = partial(config_of, "lt_net")
SIZE = (16, 8, 16)
AFFINE = torch.tensor([[4.0, 0, 0, -30], [0, 4, 0, 10], [0, 0, 4, -20], [0, 0, 0, 1]], dtype=torch.float64)
INNER = (slice(None), slice(None), slice(4, -4), slice(3, -3), slice(3, -3))


class Constant(nn.Module):
    """A flow network that gives the same displacement everywhere, voxels."""

    def __init__(self, *shift: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift).reshape(1, 3, 1, 1, 1))

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        return self.shift.expand(len(fixed), 3, *fixed.shape[2:])


def known(forth: tuple[float, ...] = (0.0, 0.0, 0.0), back: tuple[float, ...] = (0.0, 0.0, 0.0)) -> LTNet:
    """A network of two ways that holds a labelled scan, its flows known."""
    net = LTNet(2, SIZE, [2, 4, 4, 4])
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(2, *SIZE)
    masks[0, 4:9, 2:6, 3:8], masks[1, 10:13, 2:6, 4:9] = 1, 0.8
    net.hold(torch.rand(1, *SIZE, generator=generator), masks, AFFINE)
    net.forth, net.back = Constant(*forth), Constant(*back)  # type: ignore[assignment]
    return net


def test_the_cycle_of_the_identity_is_zero() -> None:
    net, loss = known(), LTNetLoss(window=3)
    found = net.cycle(torch.rand(2, 1, *SIZE))
    torch.testing.assert_close(found.returned, net.labelled.expand(2, -1, -1, -1, -1))
    cycles = loss.cycles(found)
    assert set(cycles) == {"image", "transformation", "anatomy"}
    assert all(abs(float(value.detach())) < 1e-4 for value in cycles.values())
    assert float(loss(found, found.labelled).detach()) == pytest.approx(
        float(LocalNormalizedCrossCorrelationLoss(kernel_size=3)(found.labelled, found.labelled)), abs=1e-4
    )


def test_flows_that_lead_back_leave_nothing_and_others_their_difference() -> None:
    there, loss = (1.0, 0.0, -2.0), LTNetLoss(window=3, transformation=0.5)
    found = known(there, (-1.0, 0.0, 2.0)).cycle(torch.rand(1, 1, *SIZE))
    assert float(found.residual.detach().abs().max()) == 0
    torch.testing.assert_close(found.returned[INNER], found.labelled[INNER])
    torch.testing.assert_close(found.masks_returned[INNER], found.masks[INNER])
    assert float(loss.cycles(found)["transformation"].detach()) < 1e-6
    off = known(there, (2.0, 0.0, 2.0)).cycle(torch.rand(1, 1, *SIZE))
    assert float(loss.cycles(off)["transformation"].detach()) == pytest.approx(0.5 * 3)
    assert float(loss.cycles(off)["image"].detach()) > 0.1 < float(loss.cycles(off)["anatomy"].detach())


def test_the_loss_is_the_sum_of_its_parts() -> None:
    net = LTNet(2, SIZE, [2, 4, 4, 4])
    net.hold(torch.rand(1, *SIZE), torch.rand(2, *SIZE), AFFINE)
    scan = torch.rand(2, 1, *SIZE)
    found = net(scan)
    loss = LTNetLoss(window=3, smooth=2.0, image=3.0, transformation=0.5, anatomy=0.7)
    a, b = found.masks_returned, found.masks
    overlap = 2 * (a * b).sum((2, 3, 4)) / ((a * a).sum((2, 3, 4)) + (b * b).sum((2, 3, 4)))
    expected = LocalNormalizedCrossCorrelationLoss(kernel_size=3)(found.moved, scan)
    expected = expected + 2 * (roughness(found.forth) + roughness(found.back))
    expected = expected + 3 * (found.returned - found.labelled).abs().mean()
    expected = expected + 0.5 * found.residual.norm(dim=1).mean() + 0.7 * (1 - overlap).mean()
    torch.testing.assert_close(loss(found, scan), expected, rtol=1e-4, atol=1e-5)
    loss(found, scan).backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_the_network_gives_the_moved_masks_and_scripts() -> None:
    net = known((1.5, 0.0, -0.5)).eval()
    logits = net(torch.rand(2, 1, *SIZE))
    index = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij")) + np.array([1.5, 0, -0.5])[:, None, None, None]
    masks = (net.masks[0].float() / 255).numpy()
    for way in range(2):
        expected = map_coordinates(masks[way].astype(float), index, order=1, mode="nearest")
        np.testing.assert_allclose(logits[1, 1 + way].sigmoid().detach().numpy(), expected, atol=2e-5)
    assert not logits[:, 0].any()
    whole = LTNet(2, SIZE, [2, 4, 4, 4]).eval()
    whole.hold(torch.rand(1, *SIZE), torch.rand(2, *SIZE), AFFINE)
    image = torch.rand(2, 1, *SIZE)
    torch.testing.assert_close(torch.jit.script(whole)(image), whole(image))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"three multiples of 8, got \[16, 12, 8\]"):
        LTNet(1, [16, 12, 8], [2, 4, 4, 4])
    with pytest.raises(ValueError, match=r"masks must be of shape \(1, 8, 8, 8\), got \(2, 8, 8, 8\)"):
        LTNet(1, [8, 8, 8], [2, 4, 4, 4]).hold(torch.zeros(1, 8, 8, 8), torch.zeros(2, 8, 8, 8), AFFINE)


def test_a_transferred_label_is_the_field_applied_by_the_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan's affine map is given: 8 mm along the first axis."""
    matrix = np.eye(4)
    matrix[0, 3] = 8.0

    def register(fixed: MetaTensor, moving: MetaTensor, method: str, **more: object) -> DisplacementField:
        assert method == "affine" and more["preset"] == "fast"
        return DisplacementField.from_affine(matrix, Grid.of(fixed).canonical())

    monkeypatch.setattr(atlas_module, "register", register)
    monkeypatch.setattr(atlas_module, "side_ratio", lambda *_: 9.0)
    net = known((1.0, 0.0, 0.25), (-1.0, 0.0, -0.25)).eval()
    inferer = LabelTransferInferer([3, 7], {"preset": "fast"})
    affine = AFFINE.clone()
    affine[0, 3] -= 8
    scan = MetaTensor(0.2 + 0.8 * torch.rand(1, 1, *SIZE), affine=affine, meta={"filename_or_obj": "scan"})
    answer = inferer(scan, net)
    assert answer.shape[1] == 3
    grid = Grid(tuple(answer.shape[2:]), answer.affine.numpy())  # type: ignore[arg-type]
    flow = torch.tensor([1.0, 0.0, 0.25]).reshape(3, 1, 1, 1).expand(3, *SIZE)
    field = field_of_flow(flow, Grid(SIZE, AFFINE.numpy()), matrix, grid)
    expected = resample(MetaTensor(net.masks[0].float() / 255, affine=AFFINE), grid, field).as_tensor()
    torch.testing.assert_close(answer[0, 1:].as_tensor().sigmoid(), expected.clamp(1e-6, 1 - 1e-6), rtol=0, atol=1e-4)
    assert float(expected.max()) == 1 and float(expected[1].max()) == pytest.approx(0.8)
    assert found_in(answer)["confidence"] == {"3": 1.0, "7": 1.0}, "what went there came back whole"
    label = MetaTensor((expected[:1] > 0.5) * 3)
    label.meta.update(answer.meta)
    assert WindowConfidence([3, 7], key="pred")({"pred": label}) == {3: 1.0, 7: 0.0}

    def refuse(*args: object, **more: object) -> DisplacementField:
        raise RegistrationError("nothing overlaps")

    monkeypatch.setattr(atlas_module, "register", refuse)
    with pytest.warns(UserWarning, match="nothing overlaps"):
        none = inferer(scan, net)
    found = found_in(none)
    assert found["left_out"].keys() == found["confidence"].keys() == {"3", "7"}
    assert found["confidence"] == {"3": 0.0, "7": 0.0} and float(none[0, 1:].max()) < 0


def test_inference_has_the_settings_of_the_training_for_its_own() -> None:
    own, used = parsed("train"), parsed("inference")
    for key in ("pixdim", "window", "preset", "starts", "flow_channels", "halved"):
        assert used[key] == own[key], key
    assert set(own["settings"]) == set(used["settings"]), "what inference needs is kept"
    for channels, halved in (([4] * 6, True), ([4] * 4, False)):
        parser = parsed("train", flow_channels=channels, halved=halved, learnt=None, values=[1], grid_size=[16, 32, 48])
        net = parser.get_parsed_content("network_def")
        parser.parse(True)
        assert parser.get_parsed_content("align::multiple") == net.multiple
