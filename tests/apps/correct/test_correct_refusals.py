# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What `monai-fss correct` refuses, in words and before anything is written; BIDS derivatives; `suggest` of masks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from correct_scene import CASES, Corrected, voxels
from segment_scene import tree

from monai_fss.apps.cli import main
from monai_fss.data import list_labels
from monai_fss.data.files.nifti_output import save_nifti

pytestmark = pytest.mark.usefixtures("one_thread")
FIRST = CASES[0]


def report(scene: Corrected, **inputs: object) -> None:
    file = scene.out / "report.json"
    content = json.loads(file.read_text())
    content["inputs"] |= inputs
    file.write_text(json.dumps(content))


def test_what_cannot_be_a_correction_is_refused(scene: Corrected, capsys: pytest.CaptureFixture[str]) -> None:
    label: nib.Nifti1Image = nib.Nifti1Image.from_filename(scene.truth(FIRST))
    array = np.asarray(label.dataobj)
    strange, empty, moved = (scene.root / f"{name}.nii.gz" for name in ("strange", "empty", "moved"))
    save_nifti(strange, np.where(array == 1, 14, array).astype(np.uint8), label.affine)
    save_nifti(empty, np.zeros_like(array), label.affine)
    save_nifti(moved, array, label.affine + np.eye(4))
    good = f"{FIRST}={scene.truth(FIRST)}"
    wrong = {
        (): "no edited mask is given",
        ("--label", "case_99=x.nii.gz"): "--label case_99=x.nii.gz: is not CASE=FILE with one of the cases case_02",
        ("--label", f"{FIRST}=nowhere.nii.gz"): "nowhere.nii.gz: does not exist. Check the path.",
        ("--label", good, f"{FIRST}={strange}"): f"gives a second mask of {FIRST}. Give one.",
        ("--label", f"{FIRST}={strange}"): "strange.nii.gz: has label value(s) 14; the run has 1 (",
        ("--label", f"{FIRST}={empty}"): "empty.nii.gz: support label has no labelled voxel",
        ("--label", f"{FIRST}={moved}"): "moved.nii.gz: label has affine",
        ("--label-dir", str(scene.root / "truth")): "case_01: no such scan in",
        ("--label", good, "--review", "none.txt"): "--review none.txt: cannot be read",
        ("--label", good, "--forget"): "corrects nothing. Leave --label out.",
        ("--label", good, "--images", "gone"): "gone: the scans of",
    }
    before = tree(scene.root)
    for words, said in wrong.items():
        assert scene.correct(*words) == 2, words
        assert said in capsys.readouterr().err, words
    assert tree(scene.root) == before
    assert main(["correct", str(scene.root), "--label", good]) == 2
    assert "is no folder that `monai-fss segment` has finished (no report.json). Give one." in capsys.readouterr().err


def test_what_the_masks_do_not_allow_is_refused(scene: Corrected, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--label", f"{FIRST}={scene.truth(FIRST)}")
    content = (scene.out / "report.json").read_text()
    report(scene, bundle="unet_3d", support_image=[], support_label=[], sha256={})
    assert scene.correct(*words) == 2
    said = "was segmented by unet_3d, which has learnt what to segment and takes no labelled scan. Train it again"
    assert said in capsys.readouterr().err
    report(scene, bundle="atlas", sha256={str(scene.truth("case_01")): "0"})
    assert scene.correct(*words) == 2
    assert "case_01.nii.gz: has changed since" in capsys.readouterr().err
    (scene.out / "report.json").write_text(content)
    known = json.loads(content)["inputs"]["queries"]
    report(scene, queries=known | {CASES[1]: {"sha256": "0", "state": None}})
    assert scene.correct(*words) == 2
    assert f"{CASES[1]}.nii.gz: is changed since its mask was made." in capsys.readouterr().err
    (scene.out / "report.json").write_text(content)
    table = (scene.out / "quality.csv").read_text()
    rows = list(csv.reader(table.splitlines()))
    blank = [[cell if rows[0][i] != "quality" else "" for i, cell in enumerate(row)] for row in rows[1:]]
    (scene.out / "quality.csv").write_text("\n".join(",".join(row) for row in [rows[0], *blank]) + "\n")
    assert scene.correct(*words) == 2
    assert "none is known to be better. Give --replace always." in capsys.readouterr().err
    (scene.out / "quality.csv").write_text(table)
    (scene.out / "history").mkdir()
    (scene.out / "history" / "rounds.json").write_text('{"base": {}, "rounds": []}')
    assert scene.correct(*words) == 2
    assert "has corrections of masks that were made otherwise" in capsys.readouterr().err
    assert scene.segment("--overwrite") == 2
    assert "has corrections of the masks that --overwrite would replace" in capsys.readouterr().err
    assert scene.segment("--overwrite", "--num-parts", "2", "--part-id", "0") == 2, "nor by parts"
    assert "has corrections of the masks that --overwrite would replace" in capsys.readouterr().err
    (scene.out / "history" / "rounds.json").write_text("{")
    assert scene.correct(*words) == 2
    assert "rounds.json: is damaged" in capsys.readouterr().err
    (scene.out / ".run.json").write_text("{}")
    assert scene.correct(*words) == 2
    assert "was interrupted there. Run the same command again first." in capsys.readouterr().err


def test_a_bids_derivative_is_corrected_by_a_mask_drawn_in_it(scene: Corrected, tmp_path: Path) -> None:
    bids = Corrected(scene.root / "bids")
    (bids.root / "out").parent.mkdir()
    for name in ("in", "truth", "support.nii.gz"):
        (bids.root / name).symlink_to(scene.root / name)
    assert bids.segment("--bids") == 0
    drawn = list_labels(bids.out)[FIRST]
    moved = tmp_path / drawn.name
    moved.write_bytes(scene.truth(FIRST).read_bytes())
    assert bids.correct("--label", f"{FIRST}={moved}", "--all", "--replace", "always") == 0
    masks = list_labels(bids.out)
    assert list(masks) == CASES and not list(bids.out.glob("*.nii.gz"))
    np.testing.assert_array_equal(voxels(masks[FIRST]), voxels(scene.truth(FIRST)))
    manual = [json.loads(str(m.with_name(m.name.replace(".nii.gz", ".json")).read_text())) for m in masks.values()]
    assert [one["Manual"] for one in manual] == [True, False, False]
    kept = bids.out / "history" / "001" / drawn.relative_to(bids.out)
    assert kept.exists() and kept.with_name(kept.name.replace(".nii.gz", ".tsv")).exists()


def test_suggest_ranks_masks_for_correction(scene: Corrected, capsys: pytest.CaptureFixture[str]) -> None:
    file = scene.root / "order.csv"
    assert main(["suggest", str(scene.out), "--labelled", CASES[1], "--output", str(file)]) == 0
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"] for row in rows} == {CASES[0], CASES[2]} and [row["rank"] for row in rows] == ["1", "2"]
    assert float(rows[0]["expected_gain"]) >= float(rows[1]["expected_gain"]) > 0
    assert f"Correct {rows[0]['case']} next" in capsys.readouterr().out
    assert (
        main(["suggest", str(scene.out), "--output", str(file), "--overwrite", "--num-parts", "2", "--part-id", "0"])
        == 2
    )
    assert "--num-parts 2: masks are ranked at once. Leave it out." in capsys.readouterr().err
    assert main(["suggest", str(scene.out), "--labelled", "x"]) == 2
    assert "--labelled x: no such case." in capsys.readouterr().err
