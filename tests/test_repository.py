# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files at the top of the repository: they agree with each other, and the example runs."""

from __future__ import annotations

import re
import runpy
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

import monai_fss
from monai_fss.inferers import atlas

# What the schema of CFF 1.2.0 knows and requires of a file and of its authors.
KNOWN = {
    "cff-version",
    "message",
    "type",
    "title",
    "abstract",
    "authors",
    "version",
    "license",
    "keywords",
    "references",
}
REQUIRED = {"cff-version", "message", "title", "authors"}
ENTITY, PERSON = {"name"}, {"family-names", "given-names"}


def loaded(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@pytest.fixture
def setup(repository: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read(repository / "setup.cfg", encoding="utf-8")
    return parser


def test_the_citation_names_this_version(repository: Path, setup: ConfigParser) -> None:
    citation, metadata = loaded(repository / "CITATION.cff"), setup["metadata"]
    assert REQUIRED <= citation.keys() <= KNOWN and citation["cff-version"] == "1.2.0"
    assert citation["version"] == metadata["version"] == monai_fss.__version__
    assert citation["license"] == metadata["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": metadata["author"]}]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert all(author.keys() in (ENTITY, PERSON) for author in reference["authors"])


def test_before_a_commit_runs_what_make_lint_runs(repository: Path) -> None:
    (hooks,) = (entry["hooks"] for entry in loaded(repository / ".pre-commit-config.yaml")["repos"])
    assert all(hook["language"] == "system" and hook["name"] and hook["id"] for hook in hooks)
    rules = (repository / "Makefile").read_text(encoding="utf-8")
    tools = re.findall(r"^\t\$\(BIN\)/(ruff format|ruff check|mypy)\b", rules, re.MULTILINE)
    assert [hook["name"] for hook in hooks] == tools


@pytest.mark.slow
def test_the_example_writes_masks(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With affine registrations: what it asks of them is checked, and livers need no more."""
    register = atlas.register
    monkeypatch.setattr(
        atlas, "register", lambda fixed, moving, **asked: register(fixed, moving, **{**asked, "method": "affine"})
    )
    monkeypatch.setattr(atlas, "side_ratio", lambda query, scan: 1.0)
    example = runpy.run_path(str(repository / "examples" / "one_labelled_scan.py"))
    example["main"](tmp_path)
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["case", "organ", "Dice", "quality"] and len(rows) == 10
    assert all(0 <= float(number) <= 1 for row in rows for number in row[2:])
    assert max(float(row[2]) for row in rows if row[1] == "liver") > 0.7
    for case in ("case_02", "case_03"):
        mask = nib.Nifti1Image.from_filename(tmp_path / "masks" / f"{case}.nii.gz")
        assert mask.shape == (80, 80, 26) and len(np.unique(np.asarray(mask.dataobj))) > 2
