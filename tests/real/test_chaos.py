# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Real scans: every set is acceptable, supervoxels keep their promises, the floor is what others measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import LoadImage
from scipy import ndimage

from monai_fss.apps.cli import main
from monai_fss.data import DatasetFolder, Fold, FoldItems, PrepareSlices, make_folds, support_items
from monai_fss.handlers import VolumeScores
from monai_fss.inferers import EP1Inferer, FewShotInferer, QueryLabels
from monai_fss.networks.nets import MaskPaste
from monai_fss.results import Entry
from monai_fss.transforms import Supervoxels, foreground_mask

RealData = Callable[[str], Path]
pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("name", "cases", "organs"),
    [("chaos_t2", 12, 4), ("cmr_bssfp", 21, 3), ("btcv_ct", 18, 13), ("openkbp_hn", 30, 7), ("msd_hippocampus", 80, 2)],
)
def test_every_set_passes_the_check(
    name: str, cases: int, organs: int, real_data: RealData, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DatasetFolder.read(real_data(name))
    assert (len(data.labelled), len(data.labels)) == (cases, organs)
    assert main(["check", str(data.root)]) == 0
    assert f"{cases} case(s), {cases} labelled" in capsys.readouterr().out


def test_supervoxels_of_a_real_scan(real_data: RealData) -> None:
    """At least 60 ml and connected before the foreground is cut out; numbered without gaps within it."""
    data = DatasetFolder.read(real_data("chaos_t2"))
    case = data.cases["case_01"]
    image = LoadImage(image_only=True, ensure_channel_first=True)(case.image)
    truth = np.asarray(LoadImage(image_only=True)(case.label))
    whole = np.asarray(Supervoxels(60, foreground=False)(image)[0])
    smallest = round(60e3 / abs(np.linalg.det(np.asarray(image.affine)[:3, :3])))
    assert np.bincount(whole.ravel())[1:].min() >= smallest
    assert all(ndimage.label(whole == i, np.ones((3, 3, 3)))[1] == 1 for i in range(1, whole.max() + 1))
    assert 10 <= whole.max() <= 100, "the published code finds 23 to 32 in volumes of this size"

    inside = np.asarray(Supervoxels(60)(image)[0])
    body = foreground_mask(np.asarray(image[0]))
    np.testing.assert_array_equal(inside > 0, body)
    assert set(np.unique(inside)) == set(range(inside.max() + 1))
    pairs = np.unique(np.stack([inside[body], whole[body]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1], "one name for each"
    # Organs are in the body, and the largest part of the liver lies in few supervoxels: they stand for organs.
    assert body[truth > 0].mean() > 0.99
    parts = np.sort(np.bincount(inside[truth == data.labels["liver"]]))[::-1]
    assert parts[:3].sum() > 0.5 * parts.sum()


def pasted(data: DatasetFolder, fold: Fold, names: dict[int, str], pixdim: float) -> list[Entry]:
    """Scores of the pasted masks of a fold, by EP1."""
    files = FoldItems.of(data, fold)
    prepare = PrepareSlices(pixdim, position_axes=())
    scans = [prepare(item) for item in support_items(files.support_images, files.support_labels)]
    shown = {int(value) for scan in scans for value in torch.unique(scan["label"].as_tensor())}
    own = {value: name for value, name in names.items() if value in shown}
    labels = QueryLabels(files.labels)
    handler = VolumeScores(own, own, labels, protocol="ep1", surface=False, method="mask paste")
    SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(Dataset(files.items, prepare), batch_size=1),
        MaskPaste(),
        inferer=EP1Inferer(FewShotInferer(), scans, list(own), labels),
        val_handlers=[handler],
    ).run()
    return handler.entries


@pytest.mark.parametrize(
    ("name", "pixdim", "dice", "within"), [("chaos_t2", 2.5, 48.2, 1.0), ("cmr_bssfp", 1.5, 33.5, 1.5)]
)
def test_mask_paste_by_ep1(name: str, pixdim: float, dice: float, within: float, real_data: RealData) -> None:
    """The floor that every method has to beat, over the three folds of the split "within", each organ by itself."""
    data = DatasetFolder.read(real_data(name))
    names = {value: organ for organ, value in data.labels.items()}
    scores: dict[tuple[str, int], list[float]] = {}
    for number, fold in enumerate(make_folds("within", [case.name for case in data.labelled], data.folds)):
        for entry in pasted(data, fold, names, pixdim):
            scores.setdefault((entry.name, number), []).append(entry.dice)
    assert len(scores) == 3 * len(names) and all(scores.values())
    folds = {key: float(np.nanmean(values)) for key, values in scores.items()}
    assert 100 * np.mean(list(folds.values())) == pytest.approx(dice, abs=within)
