# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""BIDS derivatives: names of masks, and label folders of every kind by case."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bad_files import good_image, save_nifti
from dicom_series import oblique_affine

from monai_fss.data import (
    DatasetFolder,
    ScanError,
    bids_cases,
    bids_places,
    label_names,
    list_labels,
    segments_of,
    write_bids_files,
    write_seg_nrrd,
)

LABEL = (good_image() > np.median(good_image())).astype(np.uint8)


def test_names_become_bids_names() -> None:
    assert bids_places(["sub-01_ses-2_acq-fast_T1w", "case_07", "sub-x", "\u00e9tude 3.1", "sub-a_b_c-d-e"]) == {
        "sub-01_ses-2_acq-fast_T1w": "sub-01/ses-2/anat/sub-01_ses-2_acq-fast_dseg.nii.gz",
        "case_07": "sub-case07/anat/sub-case07_dseg.nii.gz",
        "sub-x": "sub-x/anat/sub-x_dseg.nii.gz",
        "\u00e9tude 3.1": "sub-tude31/anat/sub-tude31_dseg.nii.gz",
        "sub-a_b_c-d-e": "sub-abcde/anat/sub-abcde_dseg.nii.gz",
    }


def test_names_that_fall_together_or_away_are_refused() -> None:
    with pytest.raises(ScanError) as refused:
        bids_places(["case_1", "Case-1", "sub-2_T1w", "sub-2_T2w", "..."])
    assert refused.value.problems == [
        "Case-1: has the same BIDS name as case_1, sub-Case1/anat/sub-Case1_dseg.nii.gz. Rename one of the scans, or "
        "leave out --bids.",
        "sub-2_T2w: has the same BIDS name as sub-2_T1w, sub-2/anat/sub-2_dseg.nii.gz. Rename one of the scans, or "
        "leave out --bids.",
        "...: has no letter or digit that a BIDS name may have. Rename the scan.",
    ]


def test_masks_of_a_derivative_are_found_by_our_names(tmp_path: Path) -> None:
    places = bids_places(["case_07", "sub-01_ses-2_T1w"])
    write_bids_files(tmp_path, places, segments_of({1: "liver"}), "atlas")
    for place in (*places.values(), "sub-new/anat/sub-new_dseg.nii.gz"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    assert (
        bids_cases(tmp_path)
        == list_labels(tmp_path)
        == {
            **{case: tmp_path / place for case, place in places.items()},
            "sub-new": tmp_path / "sub-new/anat/sub-new_dseg.nii.gz",
        }
    )
    description = json.loads((tmp_path / "dataset_description.json").read_text(encoding="utf-8"))
    assert description["DatasetType"] == "derivative" and description["GeneratedBy"][0]["Name"] == "monai_fss"
    assert {"Name", "BIDSVersion"} <= description.keys()
    assert label_names([tmp_path / places["case_07"]]) == {1: "liver"}, "by the dseg.tsv of the whole"
    (tmp_path / "participants.tsv").write_text("participant_id\tmonai_fss_cases\nsub-case07\tx\n")
    with pytest.raises(ScanError, match="column monai_fss_cases does not hold names of cases"):
        bids_cases(tmp_path)


def test_a_data_set_may_have_segmentations_of_slicer_for_labels(tmp_path: Path) -> None:
    affine = oblique_affine()
    for case in ("a", "b"):
        save_nifti(tmp_path / "images" / f"{case}.nii.gz", good_image() + (case == "b"), affine)
    write_seg_nrrd(LABEL, affine, segments_of({1: "liver"}), tmp_path / "labels" / "a.seg.nrrd")
    save_nifti(tmp_path / "labels" / "b.nii.gz", LABEL, affine)
    data = DatasetFolder.read(tmp_path)
    assert [case.label.name for case in data.labelled if case.label] == ["a.seg.nrrd", "b.nii.gz"]
    assert [summary.label.counts for summary in data.check() if summary.label] == [{1: int(LABEL.sum())}] * 2
    write_seg_nrrd(LABEL, affine, segments_of({1: "liver"}), tmp_path / "labels" / "b.seg.nrrd")
    with pytest.raises(ScanError, match="case 'b' is there twice, as b.nii.gz and b.seg.nrrd"):
        DatasetFolder.read(tmp_path)
