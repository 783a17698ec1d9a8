# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What of a folder is no scan but may be meant for one is named; label maps are told from scans."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from bad_files import good_image, save_nifti

from monai_fss.data import InputWarning, ScanError, case_name, check_queries, check_scan, list_scans
from monai_fss.data.reading.voxels import looks_like_labels

DICOM = bytes(128) + b"DICM"


def touch(folder: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def said(folder: Path) -> str:
    with pytest.warns(InputWarning) as caught:
        assert list(list_scans(folder)) == ["a"]
    assert len(caught) == 1
    return str(caught[0].message)


def test_other_formats_are_named_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.img", "b.hdr", "c.mgz", "d.mhd", "d.raw", "e.nhdr", "e.json", "notes.txt")
    text = said(tmp_path)
    assert text.startswith(f"{tmp_path}: passed over: b.hdr, b.img, c.mgz, d.mhd, e.nhdr. Scans are .nii.gz, ")
    assert "convert other formats to NIfTI" in text


def test_scans_that_lie_deeper_and_loose_slices_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "patient/b.nii.gz", "notes/read.txt", "out/m.nii.gz", "out/report.json")
    touch(tmp_path, "study/deep/series/I1", "I1", "I2.dcm", content=DICOM)
    text = said(tmp_path)
    assert "passed over: 2 loose DICOM file(s) (I1, ...), patient/ (scans lie deeper in it), study/ (scans" in text
    assert "notes" not in text and "out/" not in text, "a folder of masks is none of scans"


def test_many_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", *(f"{number}.mgz" for number in range(1, 31)))
    assert "1.mgz, 2.mgz, 3.mgz, 4.mgz, 5.mgz, 6.mgz, 7.mgz, 8.mgz and 22 more." in said(tmp_path)


def test_nothing_is_said_of_what_belongs_to_scans(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "a.json", "participants.tsv", ".hidden.mgz", "README.md", "empty/x.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(list_scans(tmp_path)) == ["a"]


def test_a_folder_whose_scans_lie_deeper_is_refused_in_these_words(tmp_path: Path) -> None:
    touch(tmp_path, "patient/b.nii.gz", "c.mhd")
    with pytest.raises(ScanError, match=r"holds no scan \(looked for .*; passed over: c.mhd, patient/ \(scans lie"):
        list_scans(tmp_path)


def test_a_folder_is_called_by_its_name_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "series", "I1", content=DICOM)
    (tmp_path / "series" / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "series")
    assert list_scans(".") == {"series": Path(".")}
    assert case_name(".") == "series"
    monkeypatch.chdir(tmp_path / "series" / "deeper")
    assert list_scans("..") == {"series": Path("..")}


def ball(radius: float, shape: tuple[int, int, int] = (24, 22, 20)) -> np.ndarray:
    middle = (np.array(shape) - 1) / 2
    distance = np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - middle, axis=-1)
    return (distance < radius).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "labels"),
    [
        (ball(8), True),
        (ball(3) * 255, True),
        (ball(9).astype(np.float32) + ball(4), True),
        (np.broadcast_to(np.arange(20) // 4, (24, 22, 20)), True),
        (ball(8) * 0.5, False),
        (ball(9) * np.random.default_rng(0).integers(1, 200, (24, 22, 20)).astype(np.uint8), False),
        (good_image(0), False),
        (ball(9) * np.int16(-1), False),
    ],
)
def test_labels_are_told_from_scans(array: np.ndarray, labels: bool) -> None:
    assert looks_like_labels(np.asarray(array)) is labels


def test_a_label_map_is_known_and_said(tmp_path: Path) -> None:
    file = save_nifti(tmp_path / "a_seg.nii.gz", ball(8).astype(np.int16))
    image = check_scan(save_nifti(tmp_path / "a.nii.gz", good_image()))
    assert check_scan(file).label_like and not image.label_like
    with pytest.warns(InputWarning, match="a_seg.nii.gz: looks like a label map, not a scan"):
        assert list(check_queries({"a_seg": file}, image)) == ["a_seg"]
