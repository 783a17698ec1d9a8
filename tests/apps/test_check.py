# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss check` on good data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_files import good_image, good_label, save_nifti

from monai_fss.apps.cli import main
from monai_fss.data import write_json


def test_it_lists_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, case in enumerate(("a", "b", "c")):
        save_nifti(tmp_path / "images" / f"{case}.nii.gz", good_image(number))
    label = good_label()
    save_nifti(tmp_path / "labels" / "a.nii.gz", label)
    save_nifti(tmp_path / "labels" / "b.nii.gz", np.where(label == 2, 0, label).astype(np.uint8))
    content = {"name": "tiny", "labels": {"liver": 1, "spleen": 2}, "modality": "MR", "folds": [["a", "b"], ["c"]]}
    write_json(tmp_path / "dataset.json", content)
    assert main(["check", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"tiny (MR): {tmp_path}"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:7]]
    low, high = good_image(0).min(), good_image(0).max()
    # voxels of 1.25 x 1.5 x 7.7 mm: 12 of the liver and 8 of the spleen
    assert cells[0] == ["a", "8 x 9 x 10", "1.25 x 1.5 x 7.7", f"{low} to {high}", "liver 0.2, spleen 0.1"]
    assert [row[-1] for row in cells] == ["liver 0.2, spleen 0.1", "liver 0.2", "-"]
    assert lines[8:] == ["b: no spleen in its label", "3 case(s), 2 labelled", "fold 0: a, b", "fold 1: c"]
    assert err == ""


def test_doubts_do_not_stop_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save_nifti(tmp_path / "images" / "a.nii.gz", good_image(), np.diag([30.0, 30.0, 30.0, 1.0]))
    assert main(["check", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"warning: {file}: ")
    assert err.count("\n") == 1
    assert "1 case(s), 0 labelled" in out
