# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Student and atlas together: each alone where it has the weight, and how far they agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_atlas import AFFINE, SHAPE, Known
from known_atlas import shifted_scan as scan
from monai.data import MetaTensor

from monai_fss.data import fingerprint
from monai_fss.inferers import (
    LEARNT_FROM,
    Atlas,
    AtlasInferer,
    StudentAgreement,
    StudentInferer,
    found_in,
    remembered_scan,
)
from monai_fss.inferers.labelled import LabelledScan
from monai_fss.inferers.students import student
from monai_fss.networks.nets import Remembering
from monai_fss.registration import resample

BOX = (slice(7, 12), slice(5, 10), slice(3, 8))
"""Of the organ in the query: 10 mm further along the first axis than in the labelled scan."""


class Sees(Remembering):
    """A student that sees the organ where it is bright, ``late`` voxels further along the first axis."""

    def __init__(self, late: int = 0) -> None:
        super().__init__()
        self.late = late
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of background and organ."""
        organ = 20 * (image.roll(self.late, 2) - 0.6)
        return torch.cat([torch.zeros_like(organ), organ], 1) + 0 * self.weight


@pytest.fixture
def inferer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an inferer whose atlas need not register."""
    monkeypatch.setattr(student, "Atlas", Known)
    settings = {"spacing": [5, 5, 5], "sides": False}
    return lambda **more: StudentInferer(5.0, SHAPE, [4], settings=settings, **more)


def net(late: int = 0, learnt_from: MetaTensor | None = None) -> Sees:
    kept = remembered_scan(scan(), [5, 5, 5])
    if learnt_from is not None:
        on_grid = resample(learnt_from, Known([scan()], [4], spacing=[5, 5, 5]).grid(learnt_from))
        kept |= {LEARNT_FROM: torch.stack([torch.zeros(32, dtype=torch.uint8), fingerprint(on_grid)])}
    return Sees(late).remember(kept)


def mask(logits: torch.Tensor) -> tuple[int, float]:
    """Voxels of the organ, and mm of its middle along the first axis."""
    assert isinstance(logits, MetaTensor)
    affine = logits.affine.squeeze(0).numpy()
    places = np.argwhere(logits.as_tensor()[0, 1].numpy() > 0) @ affine[:3, :3].T + affine[:3, 3]
    return len(places), float(places[:, 0].mean())


def test_without_the_atlas_the_student_answers_alone(inferer: Any) -> None:
    logits = inferer(prior=False)(scan(2)["image"][None], net(late=1))
    assert mask(logits) == (125, pytest.approx((9 + 1) * 5))
    found = found_in(logits)
    assert found["confidence"]["4"] > 0.97 and "agreement" not in found


def test_without_weight_the_atlas_answers(inferer: Any) -> None:
    query = scan(2)["image"][None]
    logits = inferer(weight=0.0)(query, net(late=3))
    kept = net().remembered()
    atlas = Known(student.unpacked_atlases(kept), [4], spacing=[5, 5, 5], sides=False)
    assert torch.equal(logits.as_tensor(), AtlasInferer(atlas)(query).as_tensor())
    assert mask(logits) == (125, pytest.approx(9 * 5))


def test_together_they_meet_between_and_their_agreement_is_a_sign_of_quality(inferer: Any) -> None:
    """The student is a voxel late: 25 of 125 voxels differ, Dice 0.8. Its confidence and the likeness of the registered
    scan, which is the same scan here, are the other signs."""
    query = scan(2)["image"][None]
    logits = inferer(weight=4.0)(query, net(late=1, learnt_from=scan(2)["image"]))
    assert mask(logits)[1] > 9 * 5 + 1
    score = StudentAgreement([4, 7])
    found = found_in(logits)
    assert found["agreement"] == {"4": pytest.approx(0.8)}
    confidence, likeness = found["signs"]["4"]
    assert 0.5 < confidence <= 1 and likeness == pytest.approx(1.0, abs=1e-3)
    assert score({"pred": logits}) == {4: pytest.approx(confidence * 0.8**0.25, abs=1e-3), 7: 0.0}
    assert found_in(inferer()(query, net()))["agreement"] == {"4": 1.0}
    assert score({"pred": inferer(prior=False)(query, net())})[4] > 0.97, "the student's confidence"


def test_what_a_student_has_not_learnt_is_the_atlass(inferer: Any) -> None:
    """Three voxels late, Dice 0.4 of the labelled scan: whatever its weight, it is not asked."""
    query = scan(2)["image"][None]
    expected = inferer(weight=0.0)(query, net()).as_tensor()
    for learnt_from in (None, scan(2)["image"]):
        logits = inferer(weight=100.0)(query, net(late=3, learnt_from=learnt_from))
        assert torch.equal(logits.as_tensor(), expected)


def moved(inferer: StudentInferer, network: Sees, late: int) -> Sees:
    """What has learnt the labelled scan, and sees the organ ``late`` voxels further along in others."""
    assert inferer._known_of(network).trust.item() == 1.0
    network.late = late
    return network


@pytest.mark.parametrize(("late", "place"), [(6, 15), (1, 9)])
def test_in_a_scan_that_it_has_not_learnt_from_its_place_counts_as_far_as_they_differ(
    inferer: Any, late: int, place: int
) -> None:
    """The atlas has the organ's middle at voxel 9, where the bright box is. A student 6 voxels late has no voxel
    in common with it (Dice 0) and all the say: its mask, though the refinement sees nothing bright there; one that is
    late by one (0.8) has a third of it, and the atlas's place stays."""
    one = inferer()
    logits = one(scan(2)["image"][None], moved(one, net(), late))
    assert mask(logits)[1] == pytest.approx(place * 5, abs=2.5)
    assert found_in(logits)["agreement"]["4"] == pytest.approx(1 - late / 5 if late < 5 else 0)


def test_in_a_scan_that_it_has_learnt_from_it_does_not_move_an_organ(inferer: Any) -> None:
    """30 mm away are out of the refinement's zone of 15 mm; in a scan that differs a little it has the say."""
    one = inferer(weight=0.5)
    network = moved(one, net(learnt_from=scan(2)["image"]), 6)
    assert mask(one(scan(2)["image"][None], network))[1] == pytest.approx(9 * 5)
    assert mask(one(scan(2, brightness=0.99)["image"][None], network))[1] == pytest.approx(15 * 5, abs=2.5)


def test_small_organs_are_the_atlass_where_it_has_learnt_from_the_scan_alone(inferer: Any) -> None:
    """15.6 ml, less than 16."""
    for learnt_from, place in ((scan(2)["image"], 9), (None, 15)):
        one = inferer(small_ml=16.0, weight=100.0)
        network = moved(one, net(learnt_from=learnt_from), 6)
        assert mask(one(scan(2)["image"][None], network))[1] == pytest.approx(place * 5, abs=2.5)


def test_the_share_by_hand() -> None:
    """Of Dice 0.9, 0.3 and 0.6, of which the second counts half and the last not at all: 1.05 / 1.5 = 0.7, its square
    0.49. An organ that neither finds, as it lies outside the scan, says nothing of how far they agree."""
    trust = torch.tensor([1.0, 0.5, 0.0, 1.0]).reshape(4, 1, 1, 1)
    share = student.student_share(trust, [0.9, 0.3, 0.6, 0.0], [True, True, True, False])
    assert share.shape == (4, 1, 1, 1) and share.flatten().tolist() == pytest.approx([0.51, 0.255, 0.0, 0.51])
    nothing = student.student_share(torch.zeros(2, 1, 1, 1), [0.5, 0.5], [True, True])
    assert nothing.flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("late", "trust"), [(0, 1.0), (1, 1.0), (2, 0.0), (5, 0.0)])
def test_it_is_believed_by_its_dice_of_the_labelled_scan(late: int, trust: float) -> None:
    """The Dice is 1, 0.8, 0.6 and 0 for as many voxels that it is late."""
    labelled = LabelledScan.of(scan())
    image = scan()["image"].as_tensor().roll(late, 1)
    odds = MetaTensor(20 * (image - 0.6), affine=AFFINE)
    assert student.trusted(odds, labelled, [4]).flatten().tolist() == [pytest.approx(trust)]


def test_a_small_organ_is_left_to_the_atlas() -> None:
    """125 voxels of 125 mm3 are 15.6 ml."""
    odds = MetaTensor(20 * (scan()["image"].as_tensor() - 0.6), affine=AFFINE)
    believed = [student.trusted(odds, LabelledScan.of(scan()), [4], ml).item() for ml in (0.0, 15.6, 15.7)]
    assert believed == [1.0, 1.0, 0.0]


def test_an_organ_left_to_the_atlas_keeps_its_voxels() -> None:
    """Of five voxels the atlas gives two to organ 0, which the student is not asked about; organ 1 may not take them,
    whatever it gains beside them, and where it gives one up organ 0 may have it."""
    alone = np.array([[0.9, 0.6, 0.7, 0.1, 0.2], [0.1, 0.3, 0.8, 0.7, 0.4]]).reshape(2, 5, 1, 1)
    together = np.array([[0.3, 0.1, 0.2, 0.0, 0.0], [0.8, 0.9, 0.3, 0.9, 0.6]]).reshape(2, 5, 1, 1)
    student.keep_alone(together, alone, np.array([True, False]))
    assert together[0].ravel().tolist() == [0.9, 0.6, 0.7, 0.1, 0.2]
    assert together[1].ravel().tolist() == [0.1, 0.3, 0.3, 0.9, 0.6]
    assert student.winners(together).ravel().tolist() == [0, 0, 0, 1, 1]
    nobodys = np.array([0.2, 0.4]).reshape(2, 1, 1, 1), np.array([0.9, 0.1]).reshape(2, 1, 1, 1)
    student.keep_alone(nobodys[1], nobodys[0], np.array([False, True]))
    assert nobodys[1].ravel().tolist() == [0.9, 0.4], "what the atlas gives to nobody is free"


def test_between_it_is_believed_in_part() -> None:
    """50 of the 125 voxels are missed: Dice 2 x 75 / (75 + 125) = 0.75, half of the way from 0.7 to 0.8."""
    labelled, image = LabelledScan.of(scan()), scan()["image"].as_tensor().clone()
    image[0, 5:7, 5:10, 3:8] = 0.4
    odds = MetaTensor(20 * (image - 0.6), affine=AFFINE)
    assert student.trusted(odds, labelled, [4]).item() == pytest.approx(0.5)


def test_the_atlas_is_made_once_for_a_network(inferer: Any) -> None:
    one, network = inferer(), net()
    query = scan(2)["image"][None]
    one(query, network)
    atlas = one._known.atlas
    assert one._known.trust.flatten().tolist() == [1.0]
    one(query, network)
    assert one._known.atlas is atlas and isinstance(atlas, Atlas)
    one(query, net())
    assert one._known.atlas is not atlas


class Places(Remembering):
    """A student that sees the organ where it lies in the labelled scan: within 12.5 mm of its middle."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of background and organ, of an image and three coordinates."""
        assert image.shape[1] == 4
        organ = 40 * (0.127 - image[:, 1:].abs().amax(1, keepdim=True))
        return torch.cat([torch.zeros_like(organ), organ], 1) + 0 * self.weight


@pytest.mark.parametrize("prior", [True, False])
def test_a_student_may_see_where_in_the_labelled_scan_a_voxel_lies(
    inferer: Any, prior: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies at x in the query lies at x - 10 mm in the labelled scan, so that its organ is two voxels on."""
    asked: list[Any] = []
    field = Known.field
    monkeypatch.setattr(Known, "field", lambda self, *args: asked.append((*args, None)[2]) or field(self, *args))
    student_net = Places().remember(remembered_scan(scan(), [5, 5, 5]))
    logits = inferer(position=True, weight=100.0, prior=prior)(scan(2)["image"][None], student_net)
    assert mask(logits) == (125, pytest.approx(9 * 5))
    assert found_in(logits)["confidence"]["4"] > 0.6
    assert asked == [None] if prior else asked == [{"method": "affine"}], "alone it needs the affine part only"
