# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment --num-parts N --part-id K`: several processes fill one folder as one process would."""

from __future__ import annotations

import json
import multiprocessing
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from segment_scene import Scene, read, rolled, rows, tree

from monai_fss.apps.cli import main
from monai_fss.apps.parts.part import Part
from monai_fss.apps.segment.parts import join

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ("--no-overlays", "--no-quality")
CASES = [f"scan_{number}" for number in (1, 2, 3, 9, 10, 11)]


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Six scans and one that cannot be used."""
    array = rolled(scene, CASES)
    affine = nib.Nifti1Image.from_filename(scene.images / f"{CASES[0]}.nii.gz").affine
    nib.Nifti1Image(np.full_like(array, 7), affine).to_filename(scene.images / "scan_4.nii.gz")
    return scene


def part(scene: Scene, number: int, count: int = 3, *more: str) -> list[str]:
    return scene.words(*(more or QUICK), "--num-parts", str(count), "--part-id", str(number), output="parts")


def report(scene: Scene, name: str = "report.json", output: str = "parts") -> dict[str, Any]:
    return json.loads((scene.root / output / name).read_text(encoding="utf-8"))


def as_one(scene: Scene) -> None:
    """The folder of the parts is the one that a single process writes."""
    plain, parts = scene.root / "out", scene.root / "parts"
    assert (parts / "quality.csv").read_bytes() == (plain / "quality.csv").read_bytes()
    assert [row["case"] for row in rows(parts)][:: len(rows(parts)) // len(CASES)] == CASES
    for case in CASES:
        np.testing.assert_array_equal(read(parts / f"{case}.nii.gz"), read(plain / f"{case}.nii.gz"))
    one, all_parts = report(scene, output="out"), report(scene)
    for key in ("inputs", "failed", "passed_over", "settings", "versions", "device"):
        assert all_parts[key] == one[key], key


def run(words: list[str]) -> None:
    raise SystemExit(main(words))


def test_three_processes_at_once_write_what_one_does(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(scene.words("--no-overlays")) == 1, "one scan cannot be used"
    words = [part(scene, number, 3, "--no-overlays") for number in range(3)]
    processes = [multiprocessing.get_context("fork").Process(target=run, args=(own,)) for own in words]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    # Scans 0, 3, 6 of the sorted list, of which the fourth is the one that cannot be used.
    assert [process.exitcode for process in processes] == [1, 0, 0]
    as_one(scene)
    assert report(scene)["parts"] == 3 and report(scene)["segmented_now"] == CASES
    assert report(scene, "report.part_1_of_3.json")["segmented_now"] == ["scan_2", "scan_9"]
    assert not list((scene.root / "parts").glob(".run*"))
    before = (scene.root / "parts" / "quality.csv").read_bytes()
    assert join(scene.root / "parts", 3) is not None, "whoever joins after another one changes nothing"
    assert (scene.root / "parts" / "quality.csv").read_bytes() == before
    assert main(["merge", str(scene.root / "parts")]) == 1
    said = capsys.readouterr()
    assert "3 parts joined: 6 scan(s)" in said.out and "scan_4.nii.gz: image is constant" in said.err


def test_what_is_done_is_not_done_again_and_what_has_changed_is(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene.images / "scan_4.nii.gz").unlink()
    assert main(part(scene, 1, 2)) == 0
    assert "part 1 of 2: the last one to finish joins the tables" in capsys.readouterr().out
    assert main(["merge", str(scene.root / "parts")]) == 2
    assert "of 2 parts 0 not done. Do by the same command with --part-id 0." in capsys.readouterr().err
    assert main(part(scene, 0, 2)) == 0
    assert "part 0 of 2: all parts are done and joined" in capsys.readouterr().out
    before = tree(scene.root / "parts")
    assert main(part(scene, 1, 2)) == 0
    assert "0 scan(s) segmented" in capsys.readouterr().out
    same = tree(scene.root / "parts")
    assert all(same[f"{case}.nii.gz"] == before[f"{case}.nii.gz"] for case in CASES)
    first, last = (scene.images / f"{CASES[index]}.nii.gz" for index in (0, -1))
    first.write_bytes(last.read_bytes())
    # Three parts now, of the folder that two have filled: a scan has changed, one is new.
    (scene.images / "scan_12.nii.gz").write_bytes(last.read_bytes())
    for number, cases in enumerate(([CASES[0], "scan_12"], [], [])):
        assert main(part(scene, number)) == 0
        assert f"{len(cases)} scan(s) segmented" in capsys.readouterr().out
        assert report(scene, Part(number, 3).file("report.json"))["segmented_now"] == cases
    assert not list((scene.root / "parts").glob("*_of_2.*")), "joined, and of no more use"
    (scene.images / "scan_12.nii.gz").unlink()
    assert main(scene.words(*QUICK)) == 0
    table = (scene.root / "parts" / "quality.csv").read_text(encoding="utf-8")
    kept = [line for line in table.splitlines(keepends=True) if not line.startswith("scan_12,")]
    assert "".join(kept) == (scene.root / "out" / "quality.csv").read_text(encoding="utf-8")
    assert main(scene.words(*QUICK, "--overwrite", output="parts")) == 0, "one process may take it over"
    assert not list((scene.root / "parts").glob("*.part_*"))


def test_what_would_mix_results_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(part(scene, 2)) == 0
    before = tree(scene.root)
    for words, says in (
        (scene.words(*QUICK, output="parts"), "parts 0, 1 of 3 is not done"),
        (part(scene, 0, 2), "parts 0, 1 of 3 is not done"),
        (part(scene, 2, 3, *QUICK, "--labels", "1"), "holds results of another command"),
        (part(scene, 3), "--part-id 3: is not among the 3 of --num-parts"),
        (scene.words("--num-parts", "3"), "--num-parts 3: needs --part-id, a number from 0 to 2"),
        (["merge", str(scene.images)], "holds no parts"),
    ):
        assert main(words) == 2
        assert says in capsys.readouterr().err
    assert tree(scene.root) == before
    (scene.images / "scan_0.nii.gz").write_bytes((scene.images / "scan_1.nii.gz").read_bytes())
    assert main(part(scene, 0)) == 0 and main(part(scene, 1)) == 1
    assert "not joined: " in capsys.readouterr().err and not (scene.root / "parts" / "quality.csv").exists()
    assert main(["merge", str(scene.root / "parts")]) == 2
    assert "part 2 saw other scans in the folder than part 0" in capsys.readouterr().err


def test_more_parts_than_scans(scene: Scene) -> None:
    (scene.images / "scan_4.nii.gz").unlink()
    for case in CASES[1:]:
        (scene.images / f"{case}.nii.gz").unlink()
    for number in range(2):
        assert main(part(scene, number, 2)) == 0
    assert {row["case"] for row in rows(scene.root / "parts")} == set(CASES[:1])


def test_names_of_the_files_of_a_part() -> None:
    own = Part(1, 3)
    assert own.of("abcdefg") == ["b", "e"] and own.file("quality.csv") == "quality.part_1_of_3.csv"
    assert own.file(".run.json") == ".run.part_1_of_3.json" and Part().file(".run.json") == ".run.json"
