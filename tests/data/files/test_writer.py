# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Files are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from monai_fss.data import (
    AtomicNibabelWriter,
    CaseLayout,
    atomic_path,
    check_scan,
    remove_stale,
    write_json,
    write_text_atomic,
)

AFFINE = np.array([[0, -1.5, 0, 10], [1.25, 0, 0, -20], [0, 0, 7.7, 30], [0, 0, 0, 1.0]])


def _mask(dtype: torch.dtype = torch.uint8, depth: int = 4) -> MetaTensor:
    values = torch.arange(5 * 6 * depth).reshape(1, 5, 6, depth) % 4
    return MetaTensor(values.to(dtype), affine=torch.as_tensor(AFFINE), meta={"filename_or_obj": "in/case_07.nii.gz"})


def _save(folder: Path, mask: MetaTensor) -> Path:
    layout = CaseLayout(folder)
    SaveImaged(keys="pred", writer=AtomicNibabelWriter, folder_layout=layout, output_dtype=None, print_log=False)(
        {"pred": mask}
    )
    return folder / "case_07.nii.gz"


@pytest.mark.parametrize(
    ("scan", "case"),
    [
        ("in/case_07.nii.gz", "case_07"),
        ("in/case.v2.nii", "case.v2"),
        ("in/CASE.NII.GZ", "CASE"),
        ("in/1.2.840.113", "1.2.840.113"),
        ("in/1.2.840.114/", "1.2.840.114"),
        ("a.nrrd", "a"),
    ],
)
def test_a_result_is_named_as_its_case_dots_included(scan: str, case: str, tmp_path: Path) -> None:
    assert CaseLayout(tmp_path).filename(subject=scan, idx=0) == tmp_path / f"{case}.nii.gz"


@pytest.mark.parametrize(("dtype", "on_disk"), [(torch.uint8, np.uint8), (torch.int16, np.int16)])
def test_save_imaged_keeps_voxels_type_and_geometry(dtype: torch.dtype, on_disk: type, tmp_path: Path) -> None:
    path = _save(tmp_path / "masks", _mask(dtype))
    image = nib.Nifti1Image.from_filename(path)
    assert image.get_data_dtype() == on_disk
    np.testing.assert_array_equal(np.asarray(image.dataobj), _mask().numpy()[0])
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert os.listdir(path.parent) == ["case_07.nii.gz"]


def test_one_slice_stays_a_volume(tmp_path: Path) -> None:
    path = _save(tmp_path, _mask(depth=1))
    assert nib.Nifti1Image.from_filename(path).shape == (5, 6, 1)
    assert check_scan(path).shape == (5, 6, 1)


def test_several_channels_come_last(tmp_path: Path) -> None:
    writer = AtomicNibabelWriter(output_dtype=np.float32)
    values = np.random.default_rng(0).random((3, 5, 6, 4), dtype=np.float32)
    writer.set_data_array(values)
    writer.set_metadata({"affine": AFFINE, "original_affine": AFFINE})
    writer.write(tmp_path / "a.nii")
    np.testing.assert_array_equal(
        nib.Nifti1Image.from_filename(tmp_path / "a.nii").get_fdata(dtype=np.float32), np.moveaxis(values, 0, -1)
    )


def test_interruption_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path, _mask())
    before = path.read_bytes()
    seen: list[str] = []

    def interrupted(source: Path, target: Path) -> None:
        seen.append(Path(source).name)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _save(tmp_path, _mask() + 1)
    with pytest.raises(KeyboardInterrupt):
        _save(tmp_path / "new", _mask())
    with pytest.raises(KeyboardInterrupt):
        write_text_atomic(tmp_path / "new" / "a.txt", "text")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path / "new") == []
    assert all(name.startswith(".") for name in seen)
    endings = [".nii.gz", ".nii.gz", ".txt"]
    assert all(name.endswith(ending) for name, ending in zip(seen, endings, strict=True)), "writers go by it"
    longest = tmp_path / f"{'n' * 248}.nii.gz"
    monkeypatch.undo()
    write_text_atomic(longest, "as long as a name may be")
    assert longest.exists()


def test_what_a_killed_run_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda *args, **kwargs: None)
        killed.setattr(os, "replace", lambda *args: None)
        write_text_atomic(tmp_path / "deep" / "a.txt", "half")
    write_text_atomic(tmp_path / "b.txt", "whole")
    assert not (tmp_path / "deep" / "a.txt").exists()
    left = list((tmp_path / "deep").iterdir())
    assert len(left) == 1 and remove_stale(tmp_path) == left
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["b.txt", "deep"]
    assert remove_stale(tmp_path / "none") == []


def test_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="disk"), atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("disk full")
    assert list(tmp_path.iterdir()) == []


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    writer = AtomicNibabelWriter()
    writer.set_data_array(np.zeros((1, 2, 2, 2)))
    writer.set_metadata({"affine": AFFINE})
    with pytest.raises(ValueError, match=r"a.img: only single-file NIfTI can be written. Use a name that ends in"):
        writer.write(tmp_path / "a.img")


def test_text_and_json(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "new" / "a.md", "µm\n")
    assert (tmp_path / "new" / "a.md").read_bytes() == "µm\n".encode()
    content = {"b": [1, 2.5, None], "a": "größe"}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == content
    assert list(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == ["b", "a"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"dice": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == content
