# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss suggest`. Registration is replaced by the identity: the scans lie in one world."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import save_nifti

from monai_fss.apps import cli
from monai_fss.apps.suggest import COLUMNS
from monai_fss.data import write_json
from monai_fss.registration import scan_distances as suggestion
from monai_fss.registration.body import RegistrationError

# How far the organ of each case lies from the middle, in mm: case_3 is the most typical one.
ORGANS = {"case_1": -30, "case_2": 70, "case_3": 0, "case_10": 20}


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "suggest", ("monai_fss.apps.suggest", "which scan to label first"))
    monkeypatch.setattr(suggestion, "affine", lambda fixed, moving: np.eye(4))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x, y, z = np.meshgrid(*[np.arange(-115, 120, 10.0)] * 3, indexing="ij")
    for case, organ in ORGANS.items():
        image = 400 * (x**2 + y**2 + z**2 < 110**2)
        image[(x - organ) ** 2 + y**2 + z**2 < 30**2] = 900
        save_nifti(tmp_path / "data" / "images" / f"{case}.nii.gz", image.astype(np.int16), np.diag([10.0, 10, 10, 1]))
    write_json(tmp_path / "data" / "dataset.json", {"name": "balls", "labels": {"ball": 1}, "modality": "MR"})
    return tmp_path / "data"


def table(out: str) -> list[list[str]]:
    rows = [line for line in out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_typical_scan_first_and_then_the_odd_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = data / "out" / "order.csv"
    assert cli.main(["suggest", str(data), "--output", str(file)]) == 0
    out = capsys.readouterr().out
    rows = table(out)
    assert out.startswith(f"balls (MR): {data}\n")
    assert [row[:3] for row in rows[:3]] == [
        ["1", "case_3", "closest to the average"],
        ["2", "case_2", "worst covered so far"],
        ["3", "case_1", "worst covered so far"],
    ]
    assert out.endswith("Label case_3 first.\n")
    with file.open(newline="") as stream:
        head, *lines = csv.reader(stream)
    assert tuple(head) == COLUMNS and lines == rows
    to_others, nearest, mean, worst = zip(*[[float(x or "nan") for x in line[3:]] for line in lines], strict=True)
    assert np.mean(to_others) == pytest.approx(1, abs=1e-3)  # an average pair
    assert to_others[0] == min(to_others) and np.isnan(nearest[0])
    # the first step: what its neighbours are away from it; the worst of them comes next
    assert mean[0] == pytest.approx(to_others[0] * 3 / 4, abs=1e-3)
    assert list(nearest[1:]) == list(worst[:-1])
    assert mean[-1] == worst[-1] == 0


def test_what_is_labelled_already_counts(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["suggest", str(data), "--labelled", "case_2, case_3", "--count", "1"]) == 0
    out = capsys.readouterr().out
    assert [row[:3] for row in table(out)] == [["1", "case_1", "worst covered so far"]]
    assert out.endswith("Label case_1 first beside case_2, case_3.\n")


def test_equal_scans_go_by_name_in_natural_order(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = (data / "images" / "case_1.nii.gz").read_bytes()
    for case in ORGANS:
        (data / "images" / f"{case}.nii.gz").write_bytes(one)
    assert cli.main(["suggest", str(data)]) == 0
    assert [row[1] for row in table(capsys.readouterr().out)] == ["case_1", "case_2", "case_3", "case_10"]


def test_ct_is_clipped_to_soft_tissue(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(data / "dataset.json", {"name": "balls", "labels": {"ball": 1}, "modality": "CT"})
    # 400 and 900 HU are both above the window: the organs cannot be seen
    assert cli.main(["suggest", str(data)]) == 0
    assert {row[3] for row in table(capsys.readouterr().out)} == {"0.000"}


def test_refusals(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert cli.main(["suggest", str(data), *words]) == 2
        return capsys.readouterr().err

    mine = data / "mine.csv"
    mine.write_text("mine")
    assert f"{mine}: exists already." in refused("--output", str(mine))
    assert "--labelled case_7: no such case." in refused("--labelled", "case_7,case_1")
    assert "--labelled: names all 4 case(s)" in refused("--labelled", ",".join(ORGANS))
    assert "--count 0: is less than 1." in refused("--count", "0")
    (data / "images" / "case_1.nii.gz").write_bytes(b"no scan")
    file = data / "new.csv"
    assert f"{data / 'images' / 'case_1.nii.gz'}: " in refused("--output", str(file))
    for case in ("case_1", "case_2", "case_3"):
        (data / "images" / f"{case}.nii.gz").unlink()
    assert f"{data}: has 1 scan(s), so there is no choice." in refused("--output", str(file))
    assert not file.exists() and mine.read_text(encoding="utf-8") == "mine"


def test_a_scan_that_cannot_be_registered(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*scans: Any) -> None:
        raise RegistrationError("no overlap: a head and a foot. Check that both show the same part.")

    monkeypatch.setattr(suggestion, "affine", fail)
    assert cli.main(["suggest", str(data), "--output", str(data / "new.csv")]) == 2
    err = capsys.readouterr().err
    assert f"{data / 'images' / 'case_1.nii.gz'}: cannot be registered to {data / 'images'}/case_" in err
    assert "no overlap: a head and a foot" in err and "Leave it out" in err
    assert not (data / "new.csv").exists()


def test_parts_share_their_work_and_the_last_one_ranks_as_one_process_does(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, file, read = data / "out" / "order.csv", data / "out" / "parts.csv", []
    assert cli.main(["suggest", str(data), "--output", str(plain)]) == 0
    thumbnail = suggestion.thumbnail
    monkeypatch.setattr(suggestion, "thumbnail", lambda image: read.append(1) or thumbnail(image))
    words = ["suggest", str(data), "--output", str(file), "--num-parts", "3", "--part-id"]
    for number in (2, 0):
        assert cli.main([*words, str(number)]) == 0
        assert not file.exists() and len(read) == len(ORGANS), "what one part has read, another need not"
    assert f"part 0 of 3: done; the last one to finish writes {file}" in capsys.readouterr().out
    assert cli.main([*words, "1"]) == 0
    assert file.read_bytes() == plain.read_bytes() and len(read) == len(ORGANS)
    assert cli.main(words[:2] + words[4:] + ["1"]) == 2
    assert "--num-parts 3: needs --output FILE.csv" in capsys.readouterr().err
