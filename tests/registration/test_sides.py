# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Left and right exchanged: found on phantoms whose liver and spleen lie on their own sides."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from known_atlas import as_they_lie
from monai.data import MetaTensor

from monai_fss.data import InputWarning, PrepareVolumes
from monai_fss.inferers import Atlas
from monai_fss.registration.sides import EXCHANGED, mirrored, side_ratio

pytestmark = pytest.mark.usefixtures("one_thread", "registered_once")


@pytest.fixture(scope="module")
def scans(phantom_set: Path) -> list[dict[str, MetaTensor]]:
    prepare = PrepareVolumes()
    paths = [{key: str(phantom_set / f"{key}s" / f"case_0{n}.nii.gz") for key in ("image", "label")} for n in (1, 2)]
    return [prepare(item) for item in paths]


def test_a_mirrored_scan_has_its_voxels_at_the_other_side(scans: list[dict[str, MetaTensor]]) -> None:
    image = scans[0]["image"]
    turned = mirrored(image)
    assert torch.equal(turned.as_tensor(), image.as_tensor())
    point = np.array([3, 4, 5, 1.0])
    here, there = (np.asarray(scan.affine) @ point for scan in (image, turned))
    np.testing.assert_allclose(there, here * [-1, 1, 1, 1])


def test_a_query_that_fits_better_mirrored_is_doubted(scans: list[dict[str, MetaTensor]]) -> None:
    query, support = scans[0]["image"], scans[1]["image"]
    right = side_ratio(query, support)
    assert right > 1 and side_ratio(mirrored(query), support) < EXCHANGED
    assert side_ratio(torch.zeros_like(query), support) == 1.0, "of a scan without a body nothing can be told"


@pytest.fixture
def no_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sides are looked at before it."""
    monkeypatch.setattr("monai_fss.inferers.atlas.register", as_they_lie)


@pytest.mark.usefixtures("no_registration")
def test_the_atlas_says_so_with_the_masks(scans: list[dict[str, MetaTensor]]) -> None:
    atlas = Atlas([scans[1]], spacing=[6, 6, 10], registration={"preset": "fast", "starts": 1})
    assert "doubt" not in atlas(scans[0]["image"]).meta
    with pytest.warns(InputWarning, match="fits the labelled one better with left and right exchanged"):
        result = atlas(mirrored(scans[0]["image"]))
    assert "Check the orientation in its header" in result.meta["doubt"]


@pytest.mark.usefixtures("no_registration")
def test_the_table_has_the_doubt(phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from monai_fss.apps.cli import main
    from monai_fss.handlers.segment_report import read_quality

    scan = nib.Nifti1Image.from_filename(phantom_set / "images" / "case_01.nii.gz")
    affine = np.diag([-1.0, 1, 1, 1]) @ scan.affine
    (tmp_path / "in").mkdir()
    nib.Nifti1Image(np.asarray(scan.dataobj), affine).to_filename(tmp_path / "in" / "turned.nii.gz")
    pair = [str(phantom_set / folder / "case_02.nii.gz") for folder in ("images", "labels")]
    words = ["segment", "--support-image", pair[0], "--support-label", pair[1], "--images", str(tmp_path / "in")]
    words += [
        "--output",
        str(tmp_path / "out"),
        "--no-overlays",
        "--set",
        "preset=fast",
        "spacing=[6,6,10]",
        "starts=1",
    ]
    assert main(words) == 0
    rows = read_quality(tmp_path / "out" / "quality.csv")
    assert rows and all("left and right exchanged" in row["note"] for row in rows if float(row["volume_ml"]) > 0)
    captured = capsys.readouterr()
    assert "turned: the scan fits the labelled one better" in captured.err
