# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.cli import main
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import write_results

SETTINGS: dict[str, Any] = {
    "bundle": "adnet",
    "dataset": "phantom",
    "split": "within",
    "protocol": "ep2",
    "ways": "independent",
    "runs": 1,
    "labelled_slices": 1,
}


def evaluation(folder: Path, offset: float, **settings: Any) -> Path:
    """Six queries of one organ, whose scores lie ``offset`` above 0.5, 0.51, ..."""
    scores = [("adnet", 0.5 + 0.01 * i + offset * (1 + i / 10)) for i in range(6)]
    entries = [
        Entry(0, 0, f"case_{i}", 1, "liver", name, dice, 1.0, 1.0, "scored") for i, (name, dice) in enumerate(scores)
    ]
    entries += [Entry(0, 0, f"case_{i}", 1, "liver", "mask paste", 0.2, 1.0, 1.0, "scored") for i in range(6)]
    write_results(folder, Results({**SETTINGS, **settings}, entries))
    return folder


def test_tables_go_to_the_screen_and_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = evaluation(tmp_path / "a", 0.1), evaluation(tmp_path / "b", 0.0)
    assert main(["compare", str(a), str(b / "results.json"), "--output", str(tmp_path / "out" / "ab.md")]) == 0
    out = capsys.readouterr().out
    # 0.5 to 0.55, and 0.1 x (1 + 0.25) more
    assert "65.00" in out and "52.50" in out and "+12.50" in out
    assert (tmp_path / "out" / "ab.md").read_text(encoding="utf-8") == out
    assert main(["compare", str(a), str(a), "--method-b", "mask paste"]) == 0
    out = capsys.readouterr().out
    assert "# A: adnet, B: mask paste" in out and "±" not in out
    assert main(["compare", str(a), str(a), "--method-b", "mask paste", "--spread", "patients"]) == 0
    more = capsys.readouterr().out
    assert more.startswith(f"{out}\n## Dice (%) of each by all of its queries\n")
    # 60 to 70 by 2: sqrt(70 / 6)
    assert "| A: adnet" in more and "65.00 ± 3.42" in more and "20.00 ± 0.00" in more


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = evaluation(tmp_path / "a", 0.1), evaluation(tmp_path / "b", 0.0, protocol="ep1")
    assert main(["compare", str(a), str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'}: no such file." in capsys.readouterr().err
    assert main(["compare", str(a), str(b)]) == 2
    assert "protocol" in capsys.readouterr().err
    assert main(["compare", str(a), str(a), "--method-a", "magic"]) == 2
    assert "magic" in capsys.readouterr().err
    (tmp_path / "mine.md").write_text("mine")
    assert main(["compare", str(a), str(a), "--output", str(tmp_path / "mine.md")]) == 2
    assert "mine.md: exists already." in capsys.readouterr().err
    assert (tmp_path / "mine.md").read_text(encoding="utf-8") == "mine"
    assert main(["compare", str(a), str(a), "--output", str(tmp_path / "mine.md"), "--overwrite"]) == 0
