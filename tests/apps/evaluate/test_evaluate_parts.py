# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss evaluate --num-parts N --part-id K`: the joined results are those of one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_fss.apps.cli import main
from monai_fss.results.files import read_results

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "one_thread")]


def in_parts(words: list[str], output: Path, count: int) -> None:
    for number in reversed(range(count)):
        assert main([*words, "--output", str(output), "--num-parts", str(count), "--part-id", str(number)]) == 0
        assert (output / "results.json").exists() == (number == 0), "the last one to finish joins them"


def alike(one: Path, other: Path) -> None:
    assert (one / "results.csv").read_bytes() == (other / "results.csv").read_bytes()
    ours, theirs = read_results(one).settings, read_results(other).settings
    assert {k: v for k, v in ours.items() if k != "command"} == {k: v for k, v in theirs.items() if k != "command"}
    assert "--num-parts" not in theirs["command"] and "--part-id" not in theirs["command"]


@pytest.mark.usefixtures("unregistered")
def test_queries_of_a_method_that_is_not_trained(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--bundle", "atlas", "--data", str(phantom_set), "--split", "corrected", "--fold", "0"]
    words += ["--labels", "1,4", "--set", "spacing=[6,6,10]", "refine=false"]
    assert main([*words, "--output", str(tmp_path / "one")]) == 0
    in_parts(words, tmp_path / "parts", 2)
    alike(tmp_path / "one", tmp_path / "parts")
    cases = [
        {entry["case"] for block in content["blocks"] for entry in block["entries"]}
        for number in (0, 1)
        for content in [json.loads((tmp_path / "parts" / f"results.part_{number}_of_2.json").read_text("utf-8"))]
    ]
    assert [len(own) for own in cases] == [1, 1] and cases[0] != cases[1]
    before = (tmp_path / "parts" / "results.csv").stat().st_mtime_ns
    assert main(["merge", str(tmp_path / "parts")]) == 0
    assert (tmp_path / "parts" / "results.csv").stat().st_mtime_ns > before
    alike(tmp_path / "one", tmp_path / "parts")
    capsys.readouterr()
    other = [*words, "--output", str(tmp_path / "parts"), "--num-parts", "2", "--part-id", "1", "--quality"]
    assert main(other) == 2
    assert "results.part_1_of_2.json: is of another evaluation" in capsys.readouterr().err


def test_folds_of_a_network(phantom_set: Path, trained: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--bundle", "adnet", "--data", str(phantom_set), "--device", "cpu"]
    words += ["--model", str(trained / "model.pt"), "--no-baselines"]
    assert main([*words, "--output", str(tmp_path / "one")]) == 0
    in_parts(words, tmp_path / "parts", 2)
    alike(tmp_path / "one", tmp_path / "parts")
    assert main([*words, "--output", str(tmp_path / "one"), "--num-parts", "2", "--part-id", "0"]) == 2, "not of parts"
    assert (tmp_path / "one" / "dice.png").exists() == (tmp_path / "parts" / "dice.png").exists()


def test_what_parts_would_do_otherwise_is_refused(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--data", str(phantom_set), "--output", str(tmp_path / "o"), "--num-parts", "2"]
    assert main([*words, "--part-id", "0", "--budget", "8min"]) == 2
    assert "--budget 8min: would be other steps in each part" in capsys.readouterr().err
    assert main([*words, "--part-id", "0", "--bundle", "adnet", "panet"]) == 2
    assert "--num-parts 2: is for one method" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
