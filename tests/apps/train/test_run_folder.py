# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The folder of a training: what may be started and resumed in it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.train.run_folder import RUN_JSON, check_run, note_finished, start_training
from monai_fss.data import InputWarning

RUN: dict[str, Any] = {
    "bundle": "adnet",
    "recipe": None,
    "data": "/d",
    "cases": None,
    "settings": {"steps": 4, "size": (64, 64)},
}


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A training that was killed after its second checkpoint."""
    start_training(tmp_path, RUN)
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    for name in ("checkpoint_2.pt", "checkpoint_4.pt", "best/model_dice=0.5.pt"):
        (tmp_path / "checkpoints" / name).write_bytes(b"x")
    return tmp_path


def test_an_empty_folder_and_one_without_a_checkpoint_are_free(tmp_path: Path) -> None:
    check_run(tmp_path / "new", RUN)
    assert not (tmp_path / "new").exists()
    start_training(tmp_path, RUN)
    check_run(tmp_path, RUN)


def test_a_training_is_not_overwritten_unasked(interrupted: Path) -> None:
    with pytest.raises(
        UsageError, match=r"holds a training already \(2 checkpoint\(s\)\)\. Give --resume .*--overwrite"
    ):
        check_run(interrupted, RUN)
    (interrupted / "model.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"\(model\.pt, 2 checkpoint\(s\)\)"):
        check_run(interrupted, RUN)
    check_run(interrupted, RUN, overwrite=True)


def test_overwrite_removes_the_old_training_and_nothing_else(interrupted: Path) -> None:
    keep = [interrupted / "notes.txt", interrupted / "checkpoints" / "mine.txt", interrupted / "cache" / "a.pt"]
    for file in keep:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    (interrupted / "model.pt").write_bytes(b"x")
    start_training(interrupted, {**RUN, "bundle": "other"})
    files = {p for p in interrupted.rglob("*") if p.is_file()}
    assert files == {*keep, interrupted / RUN_JSON}
    assert json.loads((interrupted / RUN_JSON).read_text(encoding="utf-8"))["bundle"] == "other"


def test_the_same_training_goes_on(interrupted: Path) -> None:
    before = (interrupted / RUN_JSON).read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(interrupted, RUN, resume=True)
    start_training(interrupted, RUN, resume=True)
    assert (interrupted / RUN_JSON).read_text(encoding="utf-8") == before
    assert len(list((interrupted / "checkpoints").glob("*.pt"))) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "/e"}, "data was /d, now /e"),
        ({"recipe": "paper"}, "recipe was not given, now paper"),
        ({"cases": ["a", "b"]}, "cases was not given, now a,b"),
        ({"settings": {"steps": 8, "size": [64, 64]}}, "steps was 4, now 8. Resume"),
        ({"settings": {"steps": 4}}, "size was 64,64, now the default"),
        ({"settings": {**RUN["settings"], "seed": 1}}, "seed was the default, now 1"),
    ],
)
def test_another_training_does_not_go_on(change: dict[str, Any], says: str, interrupted: Path) -> None:
    with pytest.raises(UsageError) as refused:
        check_run(interrupted, {**RUN, **change}, resume=True)
    assert f"{interrupted}: the training was started with other settings: " in str(refused.value)
    assert says in str(refused.value)


FILES: dict[str, Any] = {"recipe": "blocks_7", "recipe_content": {"blocks": 7}, "train_yaml_sha256": "5e1f"}


CONTENTS: dict[str, Any] = {
    "images/a.nii.gz": {"sha256": "aa", "state": [[1, 2, 3]]},
    "images/b.nii.gz": {"sha256": "bb", "state": [[1, 2, 3]]},
}


def test_a_training_does_not_go_on_with_other_scans(interrupted: Path) -> None:
    add_to_note(interrupted, {"files": CONTENTS})
    now = {"images/a.nii.gz": {"sha256": "ab", "state": [[1, 2, 3]]}, "images/c.nii.gz": {"sha256": "cc", "state": []}}
    with pytest.raises(UsageError) as refused:
        check_run(interrupted, {**RUN, "files": now}, resume=True)
    assert str(refused.value) == (
        f"{interrupted}: was trained on other scans: images/a.nii.gz (changed), images/c.nii.gz (new), images/b.nii.gz "
        "(missing). Give another --output, or --overwrite to train anew."
    )


def test_a_training_goes_on_with_the_same_scans_wherever_they_lie_and_however_it_runs(interrupted: Path) -> None:
    add_to_note(interrupted, {"files": CONTENTS})
    copied = {name: {**entry, "state": [[1, 9, 9]]} for name, entry in CONTENTS.items()}
    harmless = {"num_workers": 4, "save_interval": 2, "tensorboard": False, "cache_num": 1, "cache_dir": "/c"}
    run = {**RUN, "data": "/moved", "files": copied, "settings": {**RUN["settings"], **harmless}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(interrupted, run, resume=True)


def test_a_note_of_an_earlier_version_is_taken_with_a_warning_where_the_scans_lie_as_they_did(
    interrupted: Path,
) -> None:
    with pytest.warns(InputWarning, match="its note does not say what the scans held"):
        check_run(interrupted, {**RUN, "files": CONTENTS}, resume=True)
    with pytest.raises(UsageError, match="data was /d, now /e"):
        check_run(interrupted, {**RUN, "files": CONTENTS, "data": "/e"}, resume=True)


def test_a_file_that_a_setting_names_may_lie_elsewhere_if_it_is_the_same(interrupted: Path) -> None:
    marks = {"scribbles/s.nii.gz": {"sha256": "dd", "state": []}}
    place = {**RUN["settings"], "scribbles": "/d/s.nii.gz", "pretrained": "https://one"}
    add_to_note(interrupted, {"files": marks, "settings": json.loads(json.dumps(place))})
    check_run(interrupted, {**RUN, "files": marks, "settings": {**place, "scribbles": "/e/s.nii.gz"}}, resume=True)
    with pytest.raises(UsageError, match="pretrained was https://one, now https://two"):
        check_run(interrupted, {**RUN, "files": marks, "settings": {**place, "pretrained": "https://two"}}, resume=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"recipe_content": {"blocks": 9}},
            "was trained when blocks_7.yaml was {'blocks': 7}; now it is {'blocks': 9}.",
        ),
        ({"train_yaml_sha256": "0aff"}, "was trained by another train.yaml of adnet."),
    ],
)
def test_a_training_does_not_go_on_after_its_files_have_changed(
    change: dict[str, Any], says: str, interrupted: Path
) -> None:
    add_to_note(interrupted, FILES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(interrupted, {**RUN, **FILES}, resume=True)
    with pytest.raises(UsageError) as refused:
        check_run(interrupted, {**RUN, **FILES, **change}, resume=True)
    assert str(refused.value) == f"{interrupted}: {says} Give another --output, or --overwrite to train anew."


def test_a_note_that_does_not_say_what_files_held_is_a_warning(interrupted: Path) -> None:
    add_to_note(interrupted, {"recipe": "blocks_7"})  # of an earlier version
    with pytest.warns(InputWarning) as caught:
        check_run(interrupted, {**RUN, **FILES}, resume=True)
    assert [str(one.message) for one in caught] == [
        f"{interrupted}: its note does not say what {file} held, so whether it has changed since is not known."
        for file in ("blocks_7.yaml", "train.yaml of adnet")
    ]
    with pytest.raises(UsageError, match="recipe was blocks_7, now paper"):
        check_run(interrupted, {**RUN, **FILES, "recipe": "paper"}, resume=True)


def add_to_note(folder: Path, more: dict[str, Any]) -> None:
    note = json.loads((folder / RUN_JSON).read_text(encoding="utf-8"))
    (folder / RUN_JSON).write_text(json.dumps({**note, **more}))


def test_a_finished_training_does_not_go_on(interrupted: Path) -> None:
    note_finished(interrupted, 4)
    with pytest.raises(UsageError, match=r"the training is finished \(4 steps\)\. Use its model\.pt"):
        check_run(interrupted, RUN, resume=True)


def test_other_versions_are_a_warning(interrupted: Path) -> None:
    note = json.loads((interrupted / RUN_JSON).read_text(encoding="utf-8"))
    note["versions"]["monai"] = "0.9"
    (interrupted / RUN_JSON).write_text(json.dumps(note))
    with pytest.warns(InputWarning, match=r"was started with monai 0\.9, now .*not bit for bit"):
        check_run(interrupted, RUN, resume=True)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_note_is_refused(text: str, interrupted: Path) -> None:
    (interrupted / RUN_JSON).write_text(text)
    with pytest.raises(UsageError, match=r"run\.json: is not .*--overwrite"):
        check_run(interrupted, RUN, resume=True)
