# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Two stages by networks that are known: the coarse one reads classes off the intensities, the fine ones too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_fss.inferers import TwoStageInferer, WindowConfidence, found_in
from monai_fss.inferers.two_stage import inferer as two_stage
from monai_fss.inferers.two_stage.fine import fixed_point
from monai_fss.inferers.two_stage.inferer import product
from monai_fss.inferers.two_stage.rois import Roi
from monai_fss.networks.nets import TwoStageNet

LARGE, SMALL = 3, 7


class Levels(nn.Module):
    """Logits by the image's intensity: high where it is near to a class's level."""

    def __init__(self, levels: list[float], scale: float = 200.0) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels).reshape(1, -1, 1, 1, 1))
        self.scale = scale

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return -self.scale * (image[:, :1] - self.levels).square()


class Context(nn.Module):
    """An organ is where the second channel, the coarse probability, says so."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(image[:, :1]), 20 * self.weight * (image[:, 1:2] - 0.3)], 1)


def scan() -> MetaTensor:
    """Background 0, a large organ of 0.5, a small one of 1, voxels of 4 mm."""
    image = torch.zeros(1, 1, 24, 24, 24)
    image[..., 2:8, 2:20, 2:20] = 0.5
    image[..., 14:17, 14:17, 14:17] = 1.0
    return MetaTensor(image, affine=torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0])))


def net(fine: nn.Module | None = None) -> TwoStageNet:
    return TwoStageNet(Levels([0.0, 0.5, 1.0]), fine or Levels([0.0, 1.0]), [SMALL]).eval()


def inferer(**more: Any) -> TwoStageInferer:
    own = {"auto_context": False, "multi_atlas": False, "margin": 8.0}
    return TwoStageInferer([16] * 3, [8] * 3, [LARGE, SMALL], [SMALL], **{**own, **more})


def labels(logits: torch.Tensor) -> np.ndarray:
    way = (logits[0, 1:].max(0).values > 0) * (1 + logits[0, 1:].argmax(0))
    return np.array([0, LARGE, SMALL])[way.numpy()]


def expected() -> np.ndarray:
    image = scan()[0, 0].numpy()
    return np.where(image > 0.75, SMALL, np.where(image > 0.25, LARGE, 0))


def prior_at(monkeypatch: pytest.MonkeyPatch, *boxes: slice) -> None:
    """Have the prior be 0.9 in cubes, without registering anything."""
    prior = torch.zeros(24, 24, 24)
    for box in boxes:
        prior[box, box, box] = 0.9
    monkeypatch.setattr(two_stage.TwoStageInferer, "prior", lambda self, network, coarse: {SMALL: prior})


def note(result: torch.Tensor) -> str:
    return str(found_in(result)["notes"][str(SMALL)])


def test_large_organs_are_the_coarse_stages_and_small_ones_are_pasted_back() -> None:
    result = inferer()(scan(), net())
    assert result.shape == (1, 3, 24, 24, 24) and np.array_equal(labels(result), expected())
    assert note(result) == "region by coarse map"
    assert found_in(result)["confidence"][str(SMALL)] > 0.99


def test_beyond_its_region_there_is_nothing_of_a_small_organ() -> None:
    """A fine network that claims everything: the claim ends at the region, and where another is surer."""

    class Everything(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.zeros_like(image), torch.ones_like(image)], 1)

    found = labels(inferer()(scan(), net(Everything())))
    region = np.zeros((24, 24, 24), bool)
    region[12:19, 12:19, 12:19] = True
    assert np.array_equal(found == SMALL, region & (expected() != LARGE)) and (found == LARGE).any()


def test_auto_context_is_the_second_channel() -> None:
    result = inferer(auto_context=True)(scan(), net(Context()))
    assert np.array_equal(labels(result), expected())


class Seen(nn.Module):
    """An organ where a channel says so; the number of channels is remembered."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.weight, self.channel, self.channels = nn.Parameter(torch.ones(1)), channel, 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.channels = image.shape[1]
        shown = image[:, self.channel : self.channel + 1]
        return torch.cat([torch.zeros_like(shown), 20 * self.weight * (shown - 0.3)], 1)


@pytest.mark.parametrize(("auto_context", "channel"), [(True, 2), (False, 1)])
def test_the_prior_is_the_last_channel(auto_context: bool, channel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prior_at(monkeypatch, slice(13, 16))
    network: Any = net(Seen(channel))
    shown: dict[str, Any] = {"auto_context": auto_context, "prior_context": True}
    found = labels(inferer(multi_atlas=True, **shown)(scan(), network))
    cube = np.zeros((24, 24, 24), bool)
    cube[13:16, 13:16, 13:16] = True
    assert network.fine[str(SMALL)].channels == channel + 1 and np.array_equal(found == SMALL, cube)
    monkeypatch.setattr(two_stage.TwoStageInferer, "prior", lambda self, network, coarse: {})
    assert not (labels(inferer(multi_atlas=True, **shown)(scan(), net(Seen(channel)))) == SMALL).any(), "0 without one"


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_the_fine_stage_may_be_finer_than_the_coarse_one(flip: float) -> None:
    """The coarse stage sees voxels of 8 mm; the result is on the scan's own grid."""
    image = scan()
    image.affine = torch.diag(torch.tensor([flip * 4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    soft = TwoStageNet(Levels([0.0, 0.5, 1.0], 30.0), Levels([0.0, 1.0]), [SMALL]).eval()
    found = labels(inferer(pixdim=8.0)(image, soft))
    assert np.array_equal(found == SMALL, expected() == SMALL)
    assert (found == LARGE)[3:7, 4:18, 4:18].all()


def test_an_organ_that_nothing_finds_is_empty_with_quality_0() -> None:
    image = scan()
    image[image > 0.75] = 0
    network = net()
    network.remember({f"usual{SMALL}": torch.tensor([[0.5] * 3, [0.75] * 3])})
    result = inferer()(image, network)
    assert not (labels(result) == SMALL).any() and "usual place, since the coarse map shows nothing" in note(result)
    mask = MetaTensor(torch.from_numpy(labels(result))[None], meta=result.meta)
    assert WindowConfidence([LARGE, SMALL])({"working": mask})[SMALL] == 0.0


def test_a_prior_elsewhere_does_not_remove_what_the_coarse_stage_is_sure_of(monkeypatch: pytest.MonkeyPatch) -> None:
    prior_at(monkeypatch, slice(4, 8))
    result = inferer(multi_atlas=True)(scan(), net())
    assert np.array_equal(labels(result), expected()) and "was taken in" in note(result)


def test_the_prior_chooses_among_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second place of the same intensity is outside the region."""
    image = scan()
    image[..., 14:17, 14:17, 2:4] = 1.0
    assert (labels(inferer()(image, net())) == SMALL).sum() == 27 + 18
    prior_at(monkeypatch, slice(13, 18))
    result = inferer(multi_atlas=True)(image, net())
    assert (labels(result) == SMALL).sum() == 27 and note(result) == "region by coarse map and prior"


def test_direct_multiplication(monkeypatch: pytest.MonkeyPatch) -> None:
    """p q / (p q + (1 - p)(1 - q)); what is removed although the coarse stage was sure is said."""
    found, text = product(torch.tensor([0.6, 0.6, 0.4]), torch.tensor([0.5, 0.9, 0.2]))
    torch.testing.assert_close(found, torch.tensor([0.6, 0.54 / 0.58, 0.08 / 0.56]))
    assert text == "coarse map times prior"
    prior_at(monkeypatch, slice(4, 8))
    result = inferer(multi_atlas=True, two_stage=False)(scan(), net())
    assert not (labels(result) == SMALL).any() and "which was removed" in note(result)
    prior_at(monkeypatch, slice(14, 17))
    result = inferer(multi_atlas=True, two_stage=False)(scan(), net())
    assert (labels(result) == SMALL).sum() == 27
    assert found_in(inferer(two_stage=False)(scan(), net()))["notes"] == {}


def test_the_prior_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    prior_at(monkeypatch, slice(4, 8), slice(14, 18))
    result = inferer(atlas_only=True)(scan(), net())
    assert (labels(result) == SMALL).sum() == 128 and not (labels(result) == LARGE).any()
    assert found_in(result)["confidence"] == {str(LARGE): 0.0, str(SMALL): pytest.approx(0.9)}


def test_the_fixed_point_follows_the_fine_mask_until_it_stays() -> None:
    """An organ of 12 voxels in a row, of which the first mask shows 2; a region shows 3 more on each side."""
    organ = np.zeros((20, 3, 3), bool)
    organ[4:16] = True
    first = np.zeros_like(organ)
    first[9:11] = True
    regions: list[Roi] = []

    def segment(roi: Roi) -> torch.Tensor:
        regions.append(roi)
        return torch.from_numpy(organ[roi.slices].astype(np.float32))

    found = fixed_point(first, segment, 3.0, (1.0, 1.0, 1.0))
    assert found is not None and [int(roi.low[0]) for roi in regions] == [6, 3, 1]
    assert [int(roi.high[0]) for roi in regions] == [14, 17, 19]
    assert int(found[1].sum()) == organ.sum() and found[0].source == "coarse mask, 3 round(s)"
    assert fixed_point(np.zeros_like(organ), segment, 3.0, (1, 1, 1)) is None
    assert fixed_point(first, lambda roi: torch.zeros([s.stop - s.start for s in roi.slices]), 3.0, (1, 1, 1)) is None
    result = inferer(fixed_point=True)(scan(), net())
    assert np.array_equal(labels(result), expected()) and "coarse mask" in note(result)


def test_a_plain_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="give a MetaTensor"):
        inferer()(torch.zeros(1, 1, 8, 8, 8), net())
