# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A network that is shown labelled scans is corrected as the atlas is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from segment_scene import CASES, make_scene, read, rows

from monai_fss.apps.cli import main
from monai_fss.registration import scan_distances

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_corrected_scan_becomes_a_shot_of_a_network(
    phantom_set: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_distances, "affine", lambda fixed, moving: np.eye(4))
    scene = make_scene(tmp_path, phantom_set, trained)
    out, first = scene.root / "out", CASES[0]
    assert main(scene.words("--no-overlays")) == 0
    before = {(row["case"], row["label"]): float(row["quality"]) for row in rows(out)}
    truth = phantom_set / "labels" / f"{first}.nii.gz"
    assert main(["correct", str(out), "--label", f"{first}={truth}", "--replace", "always"]) == 0
    np.testing.assert_array_equal(read(out / f"{first}.nii.gz"), read(truth))
    report = json.loads((out / "history" / "001" / "new" / "report.json").read_text())
    assert report["inputs"]["support_label"][1].endswith("history/001/labels/case_02.nii.gz")
    assert report["settings"]["support_slices"] == "middle"
    scored = {int(value): score for value, score in report["scored"][CASES[1]].items()}
    assert all(0 <= score <= 1 for score in scored.values())
    assert any(scored[value] != before[CASES[1], str(value)] for value in scored), "by two labelled scans, not by one"
