# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks of a run for the programs that people draw in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from segment_scene import CASES, Scene, read, rows, tree

from monai_fss.apps.cli import main
from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.data import LoadScan, label_names, list_labels, segments_in, segments_of

pytestmark = pytest.mark.usefixtures("undrawn", "one_thread")
PLAIN = ("--no-overlays", "--no-quality")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_masks_has_tables_of_names_and_colours(done: Scene) -> None:
    out = done.root / "out"
    organs = segments_of({int(row["label"]): row["name"] for row in rows(out)})
    for case in CASES:
        assert segments_in(out / f"{case}.nii.gz") == organs
    assert len((out / "labels.ctbl").read_text().splitlines()) == 3 + len(organs)


def test_a_bids_derivative_goes_on_and_comes_back(
    done: Scene, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    out = scene.root / "out"
    assert main(scene.words("--bids", *PLAIN)) == 0
    places = MaskFiles("nifti", True, CASES)
    masks = {name for case in CASES for name in places.all_of(case)} - {f"{case}.nii.gz" for case in CASES}
    whole = {"dataset_description.json", "participants.tsv", "participants.json", "dseg.tsv", ".bidsignore"}
    assert names(out) == masks | whole | {"quality.csv", "report.json"}
    found = list_labels(out)
    assert list(found) == CASES and found[CASES[0]] == out / "sub-case02/anat/sub-case02_dseg.nii.gz"
    for case, file in found.items():
        np.testing.assert_array_equal(read(file), read(done.root / "out" / f"{case}.nii.gz"))
        assert json.loads(file.with_name(file.name.replace(".nii.gz", ".json")).read_text()) == {"Manual": False}
    before = tree(out)
    assert main(scene.words("--bids", *PLAIN)) == 2
    assert "exists already" in capsys.readouterr().err and tree(out) == before
    found[CASES[1]].unlink()
    assert main(scene.words("--bids", *PLAIN)) == 0
    assert json.loads((out / "report.json").read_text())["segmented_now"] == [CASES[1]]
    assert (
        found[CASES[1]].exists()
        and tree(out)["sub-case02/anat/sub-case02_dseg.nii.gz"] == before["sub-case02/anat/sub-case02_dseg.nii.gz"]
    )


def test_segmentations_of_slicer_alone_or_beside_nifti(done: Scene, scene: Scene) -> None:
    out = scene.root / "out"
    assert main(scene.words("--format", "seg-nrrd", *PLAIN)) == 0
    assert names(out) == {"quality.csv", "report.json", *(f"{case}.seg.nrrd" for case in CASES)}
    for case, file in list_labels(out).items():
        label = LoadScan(as_label=True)(file, scene.images / f"{case}.nii.gz")
        np.testing.assert_array_equal(label[0].numpy(), read(done.root / "out" / f"{case}.nii.gz"))
        assert label_names([file]) == label_names([done.root / "out" / f"{case}.nii.gz"])
    assert main(scene.words("--format", "seg-nrrd", "nifti", "--overwrite", *PLAIN)) == 0
    assert {f"{case}{end}" for case in CASES for end in (".seg.nrrd", ".nii.gz")} <= names(out)


def test_names_and_formats_that_do_not_fit_are_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    (scene.images / "case_03.nii.gz").rename(scene.images / "Case-02.nii.gz")
    before = tree(scene.root)
    assert main(scene.words("--bids")) == 2
    assert "has the same BIDS name as" in capsys.readouterr().err
    assert main(scene.words("--bids", "--format", "dicom-seg")) == 2
    said = "--format dicom-seg: a BIDS derivative holds NIfTI. Leave --bids or --format out."
    assert said in capsys.readouterr().err and tree(scene.root) == before
