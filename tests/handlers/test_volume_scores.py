# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scores of an evaluator whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose

from monai_fss.data import LoadScand
from monai_fss.handlers import ThresholdScores, VolumeScores
from monai_fss.inferers import NativeLabeld, QueryLabels, with_found
from monai_fss.results import Entry, read_results
from monai_fss.transforms import LargestComponentd


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A scan of 8 x 8 x 12 voxels of 1 x 1 x 3 mm, stored with its slices along the first axis, and its label: 3 in
    half of each of four slices, 5 in one voxel."""
    label = np.zeros((8, 8, 12), np.int16)
    label[:4, :, 4:8] = 3
    label[7, 7, 11] = 5
    affine = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    paths = [tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz"]
    for path, array in zip(paths, (np.arange(768.0).reshape(8, 8, 12), label), strict=True):
        path.parent.mkdir()
        nib.Nifti1Image(array.transpose(2, 0, 1).astype(np.int16), affine).to_filename(path)
    return paths


def answer(inputs: MetaTensor, network: Any) -> MetaTensor:
    """Half of the scan is way 1, on voxels of twice the size in plane; way 2 is nowhere."""
    logits = torch.zeros(1, 3, 4, 4, 12)
    logits[:, 1:] = -5
    logits[:, 1, :2] = 5
    affine = torch.diag(torch.tensor([2.0, 2, 3, 1], dtype=torch.float64))
    affine[:2, 3] = 0.5
    made = MetaTensor(logits)
    made.meta, made.is_batch = {"affine": affine[None]}, True
    return with_found(made, inputs, [{}])


def scored(files: list[Path], **own: Any) -> list[Entry]:
    labels = QueryLabels([files[1]])
    handler = VolumeScores({3: "liver", 5: "cyst", 9: "heart"}, [3, 5], labels, method="m", fold=4, run=1, **own)
    oriented = Compose([LoadScand("image"), turned()])
    loader = DataLoader(Dataset([{"image": str(files[0])}], oriented), batch_size=1)
    after = Compose([NativeLabeld("pred", [3, 5]), LargestComponentd("pred")])
    SupervisedEvaluator(
        torch.device("cpu"), loader, torch.nn.Identity(), inferer=answer, postprocessing=after, val_handlers=[handler]
    ).run()
    return handler.entries


def turned() -> Any:
    from monai_fss.transforms import SliceOrientationd

    return SliceOrientationd("image")


@pytest.mark.parametrize("ways", ["independent", "compete"])
@pytest.mark.parametrize(("protocol", "dice"), [("ep1", 1.0), ("ep2", 0.5)])
def test_an_answer_on_a_grid_of_its_own_counts_in_the_slices_that_are_told(
    files: list[Path], protocol: str, dice: float, ways: str
) -> None:
    """Half a scan is called the liver; it is in one third of its slices."""
    liver, cyst, heart = scored(files, protocol=protocol, ways=ways)
    assert (liver.case, liver.fold, liver.run, liver.method, liver.name) == ("a", 4, 1, "m", "liver")
    assert liver.dice == pytest.approx(dice) and liver.state == "scored" and liver.hd95 == (0 if dice == 1 else 12)
    assert (liver.nsd == 1) == (dice == 1) and liver.nsd > 0
    assert (cyst.dice, cyst.state) == (0.0, "scored") and math.isnan(cyst.hd95)
    assert heart.state == "absent" and math.isnan(heart.dice), "a class without a way is nowhere"


def test_alpnets_rule_counts_gaps_too(files: list[Path]) -> None:
    """Of the liver's four slices the second is not labelled: by ALPNet's rule what is found there is wrong."""
    stored: Any = nib.Nifti1Image.from_filename(files[1])
    label = np.asarray(stored.dataobj).copy()
    label[5][label[5] == 3] = 0
    nib.Nifti1Image(label, stored.affine).to_filename(files[1])
    assert scored(files, protocol="ep1")[0].dice == 1.0
    assert scored(files, protocol="ep1", ep1_rule="range")[0].dice == pytest.approx(2 * 3 / (4 + 3))
    assert scored(files, protocol="ep2", ep1_rule="range")[0].dice == pytest.approx(2 * 3 / (12 + 3))


def test_quality_is_of_what_is_left_by_the_protocol(files: list[Path]) -> None:
    seen: dict[str, int] = {}

    def quality(output: Any) -> dict[int, float]:
        seen["voxels"] = int((output["pred"] == 3).sum())
        return {3: 0.25, 5: 0.0}

    liver, cyst, _ = scored(files, protocol="ep2", quality=quality)
    assert (liver.quality, liver.volume_ml, cyst.volume_ml) == (0.25, 4 * 8 * 12 * 3 / 1000, 0.0)
    assert seen == {"voxels": 4 * 8 * 12}
    liver, _, _ = scored(files, protocol="ep1", quality=quality)
    assert liver.volume_ml == 4 * 8 * 4 * 3 / 1000 and seen == {"voxels": 4 * 8 * 4}
    (liver, _, _) = scored(files, quality=quality, surface=False)
    assert math.isnan(liver.quality) and math.isnan(liver.hd95) and liver.dice == 0.5


def test_scores_are_written_as_results(files: list[Path], tmp_path: Path) -> None:
    handler = VolumeScores({3: "liver"}, [3], QueryLabels([files[1]]), protocol="ep1", method="m")
    handler.entries = scored(files)[:1]
    handler.write(tmp_path / "out", {"bundle": "m", "dataset": "d", "split": "within", "labelled_slices": 3})
    results = read_results(tmp_path / "out")
    assert results.entries == handler.entries
    assert (results.settings["protocol"], results.settings["ways"]) == ("ep1", "independent")
    assert results.settings["ep1_rule"] == "shown"
    told = {"bundle": "m", "dataset": "d", "split": "within", "labelled_slices": 1}
    VolumeScores({3: "liver"}, [3], QueryLabels([files[1]])).write(tmp_path / "ep2", told)
    assert "ep1_rule" not in read_results(tmp_path / "ep2").settings


def test_refusals() -> None:
    for own, words in (
        ({"ways": "both"}, "independent, compete, got 'both'"),
        ({"protocol": "ep3"}, "got 'ep3'"),
        ({"ep1_rule": "panet"}, "one of shown, range, paired, got 'panet'"),
    ):
        with pytest.raises(ValueError, match=words):
            VolumeScores({}, [], QueryLabels([]), **own)  # type: ignore[arg-type]


def test_dice_over_thresholds_by_hand() -> None:
    """Probabilities 0.2, 0.4, 0.6 and 0.8, of which the upper three are the organ: cuts of 0.5, 0.1 and 0.9."""
    scores = ThresholdScores([0.0, 2 * math.log(9), -2 * math.log(9)], 0.5, [7])
    logits = torch.logit(torch.tensor([0.2, 0.4, 0.6, 0.8])).reshape(1, 1, 1, 4)
    label = torch.tensor([0, 7, 7, 7]).reshape(1, 1, 1, 4)

    class Engine:
        class state:
            output = [{"pred": torch.cat([torch.zeros_like(logits), logits]), "label": label}]

    scores(Engine())  # type: ignore[arg-type]
    np.testing.assert_allclose(scores.means(), [2 * 2 / 5, 2 * 3 / 7, 0])


def test_a_scan_whose_post_processing_fails_has_no_scores_and_does_not_hide_why(files: list[Path]) -> None:
    handler = VolumeScores({3: "liver"}, [3], QueryLabels([files[1]]))
    engine = Engine(lambda engine, batch: None)
    engine.state.output = {"pred": torch.zeros(1, 2, 4, 4, 12)}
    handler._keep(engine)
    engine.state.output = []
    handler(engine)
    assert handler.entries == [] and handler._logits == []
