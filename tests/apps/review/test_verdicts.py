# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss review --verdicts`: what is read back, listed and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from review_scene import change_mask, page_content_of, without, write_report, write_scans

from monai_fss.apps.cli import main
from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.correct.plan import reviewed_cases
from monai_fss.data import InputWarning, ScanError

CASES = ["case_1", "case_2", "case_3", "case_4"]
NAMES = {1: "liver", 5: "aorta"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of masks of two organs with its page. Do not change it."""
    root = tmp_path_factory.mktemp("verdicts")
    write_scans(root, CASES)
    write_report(root, CASES, {}, names=NAMES)
    assert main(["review", str(root / "out")]) == 0
    return root


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path / "out"


def review(out: Path, verdicts: dict[tuple[str, int], str]) -> dict[str, Any]:
    """What the page would export."""
    content = page_content_of(out / "review" / "index.html")
    marks = {(content["cases"][i["case"]]["name"], i["label"]): i["mask"] for i in content["items"]}
    entries = [{"case": c, "label": v, "mask": marks.get((c, v), ""), "verdict": x} for (c, v), x in verdicts.items()]
    return {"schema": content["schema"], "run": content["run"], "exported": "2030-01-01", "verdicts": entries}


def read_back(out: Path, content: Any) -> int:
    (out.parent / "review.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return main(["review", str(out), "--verdicts", str(out.parent / "review.json")])


GIVEN = {("case_1", 1): "pass", ("case_1", 5): "pass", ("case_2", 1): "fix", ("case_2", 5): "fail"}
GIVEN |= {("case_3", 1): "pass", ("case_3", 5): "fail", ("case_4", 1): "pass"}


def lists(out: Path) -> dict[str, list[str]]:
    return {name: (out / "review" / f"{name}.txt").read_text().splitlines() for name in ("fix", "fail", "pass", "open")}


def test_each_scan_is_in_one_list(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_back(out, review(out, GIVEN)) == 0
    assert lists(out) == {"fix": ["case_2"], "fail": ["case_3"], "pass": ["case_1"], "open": ["case_4"]}
    table = [[word.strip() for word in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[:5]]
    assert table[0] == ["organ", "pass", "fail", "fix", "open"]
    assert table[2:] == [["liver", "3", "0", "1", "0"], ["aorta", "1", "2", "0", "1"], ["all", "4", "2", "1", "1"]]
    kept = json.loads((out / "review" / "verdicts.json").read_text())
    assert kept[3] == {"case": "case_2", "label": 5, "name": "aorta", "verdict": "fail"} and len(kept) == 7


def test_correct_takes_what_the_page_has_exported(out: Path) -> None:
    """The scans with "fix" or "fail"; a verdict on a mask that has changed since does not count."""
    file = out.parent / "review.json"
    file.write_text(json.dumps(review(out, GIVEN)))
    folder = cast(SegmentedFolder, SimpleNamespace(output=out, scans={}))
    assert reviewed_cases(str(file), folder) == ["case_2", "case_3"]
    shutil.copy(out / "case_1.nii.gz", out / "case_3.nii.gz")
    with pytest.warns(InputWarning, match=r"case_3 \(label 5\)"):
        assert reviewed_cases(str(file), folder) == ["case_2"]
    file.write_text("{}")
    with pytest.raises(ScanError, match="is not a file of"):
        reviewed_cases(str(file), folder)


def test_a_verdict_on_a_mask_that_has_changed_does_not_count(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = review(out, GIVEN)
    change_mask(out / "case_1.nii.gz", without(1))
    assert read_back(out, content) == 0
    said = capsys.readouterr().err
    assert (
        "2 verdict(s) are of masks that have changed since and do not count: case_1 (label 1), case_1 (label 5)" in said
    )
    assert lists(out)["pass"] == [] and lists(out)["open"] == ["case_1", "case_4"]
    assert main(["review", str(out)]) == 0
    assert read_back(out, content) == 0, "the aorta's mask is still the same"
    assert "1 verdict(s) are of masks" in capsys.readouterr().err


def broken(content: dict[str, Any], **entry: Any) -> dict[str, Any]:
    return {**content, "verdicts": [{**content["verdicts"][0], **entry}, *content["verdicts"][1:]]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: "{", "cannot be read as JSON"),
        (lambda c: "[" * 100_000, "cannot be read as JSON"),
        (lambda c: [], "is not a file of 'monai-fss review 1'"),
        (lambda c: {**c, "schema": "monai-fss review 2"}, "is not a file of"),
        (lambda c: {**c, "more": 1}, "is damaged (more)"),
        (lambda c: {**c, "run": "0123456789abcdef"}, "is of another run (0123456789abcdef), not of"),
        (lambda c: broken(c, case="case_7"), "verdict 1 names 'case_7', and"),
        (lambda c: broken(c, label=9), "verdict 1 names label 9 of 'case_1', which quality.csv has not"),
        (lambda c: broken(c, label=True), "verdict 1 has a value of another kind"),
        (lambda c: broken(c, verdict="good"), "verdict 1 is 'good', not one of pass, fail, fix"),
        (lambda c: broken(c, comment=""), "verdict 1 has not just case, label, mask, verdict"),
        (lambda c: broken(c, label=5), "verdict 2 names label 5 of 'case_1' a second time"),
        (lambda c: {**c, "verdicts": [{}] * 20}, "12 more problem(s) of this kind"),
    ],
)
def test_what_the_page_did_not_export_is_refused(
    change: Any, says: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_back(out, change(review(out, GIVEN))) == 2
    said = capsys.readouterr().err
    assert says in said and "review.json" in said
    assert not (out / "review" / "fix.txt").exists()


def test_a_page_is_needed_first(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = review(out, GIVEN)
    shutil.rmtree(out / "review")
    assert read_back(out, content) == 2
    assert "has no page yet" in capsys.readouterr().err
    assert main(["review", str(out), "--verdicts", str(out / "nothing.json")]) == 2
