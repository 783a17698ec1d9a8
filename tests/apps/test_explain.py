# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss explain`: the picture and the numbers of a voxel, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from installed_bundles import settings_in

from monai_fss.apps.cli import main
from monai_fss.apps.explain import COLUMNS
from monai_fss.data import save_model
from monai_fss.networks.nets import OrganNet

Words = Callable[..., list[str]]
pytestmark = [pytest.mark.usefixtures("one_thread", "registered_once")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that has learnt nothing, on a coarse grid."""
    torch.manual_seed(0)
    own = {"channels": [4, 8], "neighbourhoods": [1, 3]}
    brought = {key: settings_in("organnet")[key] for key in settings_in("organnet")["settings"]}
    small = {"pixdim": 12.0, "starts": 1, "roi_size": [16, 16, 16], **own}
    path = tmp_path_factory.mktemp("explain") / "model.pt"
    save_model(path, OrganNet(mask_channels=2, **own), brought | small, "organnet")
    return path


@pytest.fixture
def words(phantom_set: Path, model: Path, tmp_path: Path) -> Words:
    """Of the command; case_02 is labelled, and a voxel of case_01 is asked about."""

    def made(*more: str, voxel: str = "20,32,7") -> list[str]:
        support = [str(phantom_set / folder / "case_02.nii.gz") for folder in ("images", "labels")]
        command = ["explain", "--model", str(model), "--image", str(phantom_set / "images" / "case_01.nii.gz")]
        command += ["--support-image", support[0], "--support-label", support[1], f"--voxel={voxel}"]
        return [*command, "--output", str(tmp_path / "out" / "a.png"), "--device", "cpu", *more]

    return made


@pytest.mark.slow
def test_a_voxel_is_the_same_in_mm_and_every_place_is_of_the_labelled_scan(
    words: Words, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words()) == 0
    said = capsys.readouterr().out
    table = (tmp_path / "out" / "a.csv").read_bytes()
    rows = list(csv.DictReader(table.decode().splitlines()))
    assert tuple(rows[0]) == COLUMNS and [row["level"] for row in rows] == ["1"] + ["2"] * 27
    weights = [float(row["weight"]) for row in rows]
    assert weights[0] == 1 and sum(weights[1:]) == pytest.approx(1, abs=1e-4)
    assert "voxel 20, 32, 7 of the scan" in said and said.count("\n| 2 ") == 5
    scan, label = (nib.Nifti1Image.from_filename(phantom_set / f / "case_02.nii.gz") for f in ("images", "labels"))
    volume = np.asarray(label.dataobj)
    for row in rows:
        mm, own = ([float(row[key]) for key in keys] for keys in (("x_mm", "y_mm", "z_mm"), "ijk"))
        assert np.abs(scan.affine[:3] @ [*own, 1] - mm).max() < 1, "rounded to a tenth of a voxel"
        nearest = np.floor(np.array(own) + 0.5).astype(int)
        inside = ((nearest >= 0) & (nearest < volume.shape)).all()
        clear = (np.abs(np.array(own) + 0.5 - np.round(np.array(own) + 0.5)) > 0.06).all()
        assert not clear or int(row["label"]) == (volume[tuple(nearest)] if inside else 0)
    query = nib.Nifti1Image.from_filename(phantom_set / "images" / "case_01.nii.gz")
    mm = ",".join(f"{x:.3f}" for x in query.affine[:3] @ [20, 32, 7, 1])
    assert main(words("--unit", "mm", "--overwrite", voxel=mm)) == 0
    assert (tmp_path / "out" / "a.csv").read_bytes() == table
    assert (tmp_path / "out" / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.csv", "a.png"]
    capsys.readouterr()
    assert main(words()) == 2
    assert "a.png: exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("voxel", "more", "says"),
    [
        ("64,1,1", [], "--voxel 64, 1, 1 (voxel) lies outside case_01.nii.gz, which has 64 x 64 x 12 voxels."),
        ("-1,1,1", [], "--voxel -1, 1, 1 (voxel) lies outside"),
        ("900,0,0", ["--unit", "mm"], "--voxel 900, 0, 0 (mm), which is voxel -"),
        ("1,2.5,3", [], "--voxel 1,2.5,3: has fractions. Give whole numbers, or --unit mm."),
        ("1,2", [], "--voxel 1,2: is not a place. Write three numbers as 120,80,33."),
        ("20,32,7", ["--label", "1,4"], "--label 1,4: is not one label value. Ask about one organ."),
        ("20,32,7", ["--label", "9"], "case_02.nii.gz: label 9 has no voxel"),
        ("20,32,7", ["--output", "a.jpg"], "--output a.jpg: is not the name of a picture."),
        ("20,32,7", ["--set", "labels=[1]"], "--set labels: has an option of its own. Use --label."),
    ],
)
def test_what_cannot_be_asked_is_refused(
    voxel: str, more: list[str], says: str, words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(*more, voxel=voxel)) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("bundle", "says"),
    [
        ("atlas", "carries labels over by registration alone"),
        ("adnet", "knows the labelled scan by mean features, not voxel by voxel"),
        ("prnet", "has learnt what to segment, and looks at no labelled scan"),
    ],
)
def test_other_bundles_have_nothing_to_show(
    bundle: str, says: str, words: Words, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("--bundle", bundle)) == 2
    said = capsys.readouterr().err
    assert f"--bundle {bundle}: {says}" in said and "organnet can be asked" in said
    if bundle == "adnet":  # by its model alone
        asked: list[Any] = words()
        asked[asked.index("--model") + 1] = str(trained / "model.pt")
        assert main(asked) == 2 and says in capsys.readouterr().err
