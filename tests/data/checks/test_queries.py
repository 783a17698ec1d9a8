# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Folders of queries, the support among them, and output folders."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from bad_files import good_image, save_nifti

from monai_fss.data import (
    InputWarning,
    ScanError,
    case_name,
    check_not_support,
    check_output,
    check_queries,
    check_range,
    check_scan,
    finish_run,
    list_scans,
    natural_key,
    start_run,
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "image.nii.gz", good_image())


def test_list_scans_names_and_orders(tmp_path: Path) -> None:
    for name in ("case_10.nii.gz", "case_2.nii", "case_1.MHA", "b.nrrd", ".hidden.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "I1").write_bytes(bytes(128) + b"DICM")
    assert list(list_scans(tmp_path)) == ["b", "case_1", "case_2", "case_10", "series"]
    assert list_scans(tmp_path)["case_2"] == tmp_path / "case_2.nii"
    assert list_scans(tmp_path / "case_2.nii") == {"case_2": tmp_path / "case_2.nii"}
    assert list_scans(tmp_path / "series") == {"series": tmp_path / "series"}
    assert case_name("a/b.c.nii.gz") == "b.c"
    assert sorted(["a10", "a2", "b", "1"], key=natural_key) == ["1", "a2", "a10", "b"]


def test_list_scans_refuses(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="none: does not exist. Check the path."):
        list_scans(tmp_path / "none")
    with pytest.raises(ScanError, match=re.escape(f"{tmp_path}: holds no scan (looked for .nii.gz, .nii, .nrrd, .mha")):
        list_scans(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ScanError, match="Its scans are in images/: give that folder."):
        list_scans(tmp_path)
    for name in ("a.nii", "a.nii.gz", "b.nii"):
        (tmp_path / name).touch()
    with pytest.raises(ScanError, match="case 'a' is there twice, as a.nii and a.nii.gz. Remove one of them."):
        list_scans(tmp_path)


def test_query_that_is_the_support_is_refused(tmp_path: Path, image: Path) -> None:
    support = check_scan(image)
    link = tmp_path / "link.nii.gz"
    link.symlink_to(image)
    with pytest.raises(ScanError, match="link.nii.gz: is the support itself. Leave it out"):
        check_not_support(check_scan(link), support)
    copy = save_nifti(tmp_path / "copy.nii", good_image())
    with pytest.raises(ScanError, match="copy.nii: has the same voxels as the support .*image.nii.gz. Leave"):
        check_not_support(check_scan(copy), support)
    check_not_support(check_scan(save_nifti(tmp_path / "other.nii.gz", good_image(1))), support)


def test_queries_are_all_judged_before_stopping(tmp_path: Path, image: Path) -> None:
    good = save_nifti(tmp_path / "good.nii.gz", good_image(1))
    copy = Path(shutil.copy(image, tmp_path / "copy.nii.gz"))
    queries = {"good": good, "none": tmp_path / "none.nii.gz", "copy": copy}
    support = check_scan(image)
    with pytest.raises(ScanError) as caught:
        check_queries(queries, support)
    assert [p.split(":")[0] for p in caught.value.problems] == [str(queries["none"]), str(copy)]
    assert list(check_queries({"good": good}, support)) == ["good"]


def test_queries_are_held_against_every_support(tmp_path: Path, image: Path) -> None:
    second = check_scan(save_nifti(tmp_path / "second.nii.gz", good_image(2)))
    copy = Path(shutil.copy(tmp_path / "second.nii.gz", tmp_path / "copy.nii.gz"))
    with pytest.raises(ScanError, match="copy.nii.gz: has the same voxels as the support .*second.nii.gz"):
        check_queries({"copy": copy}, [check_scan(image), second])


@pytest.mark.parametrize(
    ("scale", "shift", "odd"),
    [(1, 0, False), (5, 0, False), (0.2, 0, False), (20, 0, True), (0.05, 0, True), (1, 2000, True), (2, -1024, True)],
)
def test_unlike_intensities_warn(scale: float, shift: float, odd: bool, tmp_path: Path, image: Path) -> None:
    values = good_image(1, dtype=np.float32) * scale + shift
    query = check_scan(save_nifti(tmp_path / "query.nii.gz", values))
    if odd:
        with pytest.warns(InputWarning, match=r"query.nii.gz: intensities \(.*\) are unlike those of the support .*\?"):
            check_range(query, check_scan(image))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        check_range(query, check_scan(image))


def test_existing_output_is_refused_unless_asked_for(tmp_path: Path) -> None:
    names = ["a.nii.gz", "b.nii.gz"]
    assert check_output(tmp_path / "new" / "deep", names) == names
    (tmp_path / "b.nii.gz").touch()
    with pytest.raises(ScanError, match=r"b.nii.gz: exists already. Give another output folder, or --overwrite."):
        check_output(tmp_path, names)
    assert check_output(tmp_path, names, overwrite=True) == names
    with pytest.raises(ScanError, match="cannot be an output folder: .*b.nii.gz is a file"):
        check_output(tmp_path / "b.nii.gz" / "x", names)


def test_interrupted_run_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    names, run = ["a.nii.gz", "b.nii.gz"], {"support": "abc", "ways": (1, 2)}
    (tmp_path / "a.nii.gz").write_text("of an older run")
    start_run(tmp_path, run, check_output(tmp_path, names, overwrite=True))
    assert check_output(tmp_path, names, run=run) == names  # the older result must not pass for this run's
    (tmp_path / "a.nii.gz").touch()
    assert check_output(tmp_path, names, run=run) == ["b.nii.gz"]
    with pytest.raises(ScanError, match="a.nii.gz: exists already"):
        check_output(tmp_path, names, run={"support": "other", "ways": [1, 2]})
    finish_run(tmp_path)
    with pytest.raises(ScanError, match="a.nii.gz: exists already"):
        check_output(tmp_path, names, run=run)
    (tmp_path / ".run.json").write_text("{")
    with pytest.raises(ScanError, match="is not the note of an interrupted run"):
        check_output(tmp_path, names, run=run)
