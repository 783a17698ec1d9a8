# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points as the paper finds, rates and grows them: one network and one jump, two cosines, all labels alike."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from known_prnet import SPACING, Known, scan
from monai.data import MetaTensor, decollate_batch, list_data_collate
from torch import nn

from monai_fss.data import ScanError, load_propagation, save_model, save_propagation
from monai_fss.handlers.propagation_report import PropagationReport
from monai_fss.inferers import (
    LocatedInferer,
    LocatedPoints,
    MaskSimilarity,
    PointLocaliser,
    ScribblePropagation,
    SupportPoints,
    load_prnet,
    prnet_transforms,
)
from monai_fss.inferers.points.patches import PatchGrid
from monai_fss.networks.nets import LocatedSegmenter, PatchFeatures, PRNet
from monai_fss.transforms import grow_scribbles

PAPER = {"starts": 1, "spread": 1000.0, "jumps": 0, "smooth": 0, "matching": False}
SHIFT = np.array([-8, 3, -9])  # mm from the query's places to the body's
SUPPORT, QUERY = scan((30, 40, 20), (0, 0, 0), 0.0), scan((36, 44, 24), SHIFT.tolist(), 0.0)
POINTS = np.array([[12, 15, 6], [25, 8, 15], [5, 30, 2]])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_network_takes_every_point_there_in_one_jump(seed: int) -> None:
    """It believes that all ways are half as long: a point ends half way between the start and its place."""
    net = Known(gain=0.5)
    localiser = PointLocaliser(net, seed=seed, **PAPER)
    support = localiser.support(SUPPORT, POINTS, [1, 1, 9])
    found = localiser(support, QUERY)
    start = localiser._starts(PatchGrid.of(QUERY, SPACING.tolist(), net.patch_size)) * SPACING
    assert start.shape == (1, 3) and net.positions == 1 and net.features == 3 + 3
    np.testing.assert_allclose(found.mm, start + 0.5 * (POINTS * SPACING - SHIFT - start), atol=0.01)
    twice = PointLocaliser(net, seed=seed, **PAPER | {"jumps": 1})(support, QUERY)
    assert np.abs(twice.mm - found.mm).max() > 1, "a second jump goes half of what is left"


def test_a_start_may_lie_anywhere() -> None:
    places = [PointLocaliser(Known(), seed=seed, **PAPER)._starts(_grid(QUERY)) for seed in range(200)]
    low, high = np.concatenate(places).min(0), np.concatenate(places).max(0)
    assert (low <= 2).all() and (high >= np.array([36, 44, 24]) - 3).all()
    dark = QUERY.clone()
    dark[0] = 0
    dark[0, 0, 43, 23] = 1
    assert PointLocaliser(Known(), **PAPER)._starts(_grid(dark)).tolist() == [[0, 43, 23]]


def _grid(image: MetaTensor) -> PatchGrid:
    return PatchGrid.of(image, SPACING.tolist(), (4, 6, 2))


class TwoAngles(Known):
    """f2 is a direction by channel 4, f4 one by channel 5, in units of 180 degrees."""

    def forward(self, patches: torch.Tensor) -> PatchFeatures:
        self.features += len(patches)
        angles = patches[:, 4:6, 2, 3, 1] * np.pi
        f2, f4 = (torch.stack([torch.cos(a), torch.sin(a)], 1) for a in angles.T)
        return PatchFeatures(self.position(patches), f2, f4, patches[:, :1])


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        ((60, 0), 0.5),
        ((60, 45), 0.5 * 2**-0.5),
        ((120, 0), -0.5),
        ((0, 120), -0.5),
        ((120, 120), -0.25),  # their product is 0.25
        ((180, 180), -1),
        ((90, 180), 0),
    ],
)
def test_points_are_alike_where_both_cosines_are_positive(degrees: tuple[int, int], expected: float) -> None:
    support_scan, query = (torch.cat([s.as_tensor(), s.as_tensor()[4:] * 0]) for s in (SUPPORT, QUERY))
    support_scan, query = MetaTensor(support_scan, affine=SUPPORT.affine), MetaTensor(query, affine=QUERY.affine)
    query[4], query[5] = degrees[0] / 180, degrees[1] / 180
    localiser = PointLocaliser(TwoAngles(), match_levels=())
    found = localiser(localiser.support(support_scan, POINTS, [1, 1, 1]), query)
    np.testing.assert_allclose(found.similarity, expected, atol=1e-5)
    for tau in (0.0, 0.2, 0.4):
        assert found.scribbles(QUERY.shape[1:], tau).any() == (expected > tau)


SHAPE, VOXEL = (24, 20, 8), (1.0, 1.0, 3.0)
VOXELS = np.array([[8, 8, 3], [8, 9, 4], [17, 8, 4], [1, 1, 0], [22, 18, 7], [13, 17, 4]])
VALUES = np.array([1, 1, 2, 9, 9, 9])
GROWTH = {"limit": 1.0, "intensity_weight": 1.0, "iterations": 2}


def noisy() -> MetaTensor:
    """Two boxes before a ground, with noise."""
    image = torch.zeros(1, *SHAPE)
    image[:, 4:12, 4:14, 2:6], image[:, 14:20, 4:14, 2:6] = 0.8, 0.5
    image += torch.randn(image.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    return MetaTensor(image, affine=torch.diag(torch.tensor([*VOXEL, 1.0])))


def propagation(**settings: float | bool | None) -> ScribblePropagation:
    mm, nothing = (VOXELS * VOXEL).astype(np.float32), torch.zeros(len(VALUES), 3)
    points = SupportPoints(
        VOXELS.astype(np.float32), mm, VALUES, *[nothing] * 4, mm * 0, mm * 0, torch.zeros(0), mm * 0
    )
    return ScribblePropagation(
        PointLocaliser(Known()),
        points,
        background=9,
        growth=GROWTH,
        **{"tolerance": None, "margin": 1000.0, **settings},
    )


def found(similarity: Sequence[float] = (0.9,) * 6) -> LocatedPoints:
    return LocatedPoints(VOXELS, VOXELS * np.array(VOXEL), VALUES, np.array(similarity))


def test_growth_is_that_of_the_whole_scan_and_nothing_is_taken_away() -> None:
    image = noisy()
    scribbles = np.zeros(SHAPE, np.int16)
    scribbles[tuple(VOXELS.T)] = VALUES
    expected, _ = grow_scribbles(image[0].numpy(), scribbles, VOXEL, 9, **GROWTH)
    assert np.array_equal(propagation().grow(image, found()), expected)
    cube, _ = grow_scribbles(image[0].numpy(), scribbles, (1, 1, 1), 9, **GROWTH)
    assert not np.array_equal(cube, expected), "the distance of slices counts"
    assert (expected > 0).sum() > 500
    near = propagation(margin=2.0).grow(image, found())
    assert near[5:21, 5:13, 1:7].any() and not near[:5].any() and (expected[:5] > 0).any()
    assert (propagation(tolerance=0.1).grow(image, found()) != expected).any()


def test_the_backgrounds_points_must_be_alike_too_where_it_is_asked_for() -> None:
    image, points = noisy(), found((0.9, 0.9, 0.9, 0.9, 0.4, 0.6))
    left = [VALUES != 9, np.array([True] * 4 + [False, True])]
    for kept, inferer in ((left[0] | True, propagation()), (left[1], propagation(denoise_background=True))):
        scribbles = np.zeros(SHAPE, np.int16)
        scribbles[tuple(VOXELS[kept].T)] = VALUES[kept]
        expected, _ = grow_scribbles(image[0].numpy(), scribbles, VOXEL, 9, **GROWTH)
        assert np.array_equal(inferer.grow(image, points), expected)
    assert propagation().always == (9,) and propagation(denoise_background=True).always == ()


@pytest.mark.parametrize(("denoised", "kept"), [(False, 3), (True, 2)])
def test_the_report_says_how_many_were_kept(denoised: bool, kept: int, tmp_path: Path) -> None:
    inferer, points = propagation(denoise_background=denoised), found((0.9, 0.3, 0.9, 0.9, 0.4, 0.6))
    inferer.localiser = lambda *_: points  # type: ignore[assignment]
    image = noisy()
    image.meta["filename_or_obj"] = "query.nii.gz"
    batch = list_data_collate([{"image": image}])["image"]
    engine = Engine(lambda *_: None)
    engine.state.output = [{"image": decollate_batch(batch)[0], "pred": decollate_batch(inferer(batch))[0]}]
    PropagationReport(inferer, tmp_path)(engine)
    rows = list(csv.DictReader((tmp_path / "propagation.csv").open(encoding="utf-8")))
    assert [(row["label"], row["points"], row["kept"]) for row in rows] == [
        ("1", "2", "1"),
        ("2", "1", "1"),
        ("9", "3", str(kept)),
    ]


@pytest.mark.parametrize(("grown", "denoised", "unrated"), [(0.5, True, ()), (0.5, False, (9,)), (0.0, True, (9,))])
def test_in_use_the_background_is_compared_where_that_counts(
    grown: float, denoised: bool, unrated: tuple[int, ...]
) -> None:
    net = LocatedSegmenter(nn.Conv3d(1, 2, 1), PRNet((32, 16, 16), 2))
    inferer = LocatedInferer(
        (16,) * 3, background=9, values=[1], grown=grown, propagation={"denoise_background": denoised}
    )
    localiser = inferer._localiser(net)
    assert localiser.unrated == unrated and localiser.fine is localiser.coarse is net.coarse


SETTINGS = {
    "coarse": {"pixdim": [4, 4, 12], "patch_size": [32, 16, 16], "reach": [500] * 3},
    "fine": None,
    "base": 2,
    "pixdim": [2, 2, 4],
    "window": [0, 1],
}


def test_one_network_is_kept_in_every_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    coarse, file = PRNet.of_level(SETTINGS["coarse"], 2), tmp_path / "propagation.pt"
    save_propagation(file, coarse, None, {"values": torch.tensor([1])}, SETTINGS)
    network, settings = load_prnet(file)
    assert settings == SETTINGS and network.fine is None and network.coarse.spacing.tolist() == [4, 4, 12]
    assert all(torch.equal(a, b) for a, b in zip(network.coarse.parameters(), coarse.parameters(), strict=True))
    save_model(tmp_path / "model.pt", LocatedSegmenter(nn.Conv3d(1, 2, 1), coarse).remember(network.points()), SETTINGS)
    again, _ = load_prnet(tmp_path / "model.pt")
    assert again.state_dict().keys() == network.state_dict().keys() and again.points()["values"].tolist() == [1]
    two = LocatedSegmenter(nn.Identity(), PRNet((32, 16, 16), 2), PRNet((32, 16, 16), 2))
    with pytest.raises(ScanError, match="propagation.pt: does not fit the networks .* Give the settings"):
        load_propagation(file, two)
    save_propagation(file, coarse, coarse, {}, SETTINGS)
    with pytest.raises(ScanError, match="propagation.pt: does not fit the networks .* Give the settings"):
        load_propagation(file, LocatedSegmenter(nn.Identity(), PRNet((32, 16, 16), 2)))


def test_one_network_compares_masks_too(tmp_path: Path) -> None:
    image, label = np.zeros((24, 24, 12), np.float32), np.zeros((24, 24, 12), np.int16)
    image[6:16, 6:18, 3:9], label[6:16, 6:18, 3:9] = 1, 1
    for name, array in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(array, np.diag([-2.0, 2.0, 4.0, 1.0])), tmp_path / f"{name}.nii.gz")
    file, coarse = tmp_path / "propagation.pt", PRNet.of_level(SETTINGS["coarse"], 2)
    save_propagation(file, coarse, None, {"values": torch.tensor([1])}, SETTINGS)
    similarity = MaskSimilarity(file, tmp_path / "image.nii.gz", tmp_path / "label.nii.gz")
    seen = similarity.localiser.coarse
    assert torch.equal(seen.head[0].weight, coarse.head[0].weight)
    read = prnet_transforms(SETTINGS, ["image", "label"])(
        {k: str(tmp_path / f"{k}.nii.gz") for k in ("image", "label")}
    )
    assert read["image"].shape == read["label"].shape == (1, 24, 24, 12)
