# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Texts that MONAI's parser would run, replace or change come out of it as they went in."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from monai_fss.data import verbatim

KNOWN = [
    "$open('EVALUATED','w')",
    "@other",
    "%other",
    "a #1",
    "a::b",
    "'",
    '"',
    "\\",
    "$",
    "",
    "$import os",
    "ä漢😀\n\t",
]
PIECES = [*"$@%#:'\"\\{}[]()_ ./-", "::", "\n", "é", "other", "x", "$@", "7"]


def random_texts(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 8))) for _ in range(count)]


def parsed(value: Any) -> dict[str, Any]:
    """Everywhere that a configuration may use it."""
    config = {"other": "wrong", "value": None, "joined": "$str(@value) + '/cache'", "item": {"_target_": "dict"}}
    parser = ConfigParser({**config, "list": ["@value"], "nested": {"deep": [0]}, "found": "@nested::deep::0"})
    parser["value"] = parser["nested::deep::0"] = verbatim(value)
    parser["item"]["held"] = verbatim(value)
    return {key: parser.get_parsed_content(key) for key in ("value", "joined", "list", "item", "found")}


@pytest.mark.parametrize("text", [*KNOWN, *random_texts(60)])
def test_a_text_stays_itself(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    got = parsed(text)
    assert got["value"] == got["found"] == got["item"]["held"] == text and got["list"] == [text]
    assert got["joined"] == f"{text}/cache"
    assert not list(tmp_path.iterdir())


def test_other_values_keep_their_structure() -> None:
    value = {"a": ["$1", {"b": "@x"}], 3: (1.5, None, True), "plain": "case_01.nii.gz"}
    assert parsed(value)["value"] == {"a": ["$1", {"b": "@x"}], 3: [1.5, None, True], "plain": "case_01.nii.gz"}
    assert parsed(Path("a #1"))["value"] == "a #1"
    assert verbatim("images/case 01.nii.gz") == "images/case 01.nii.gz"


@pytest.mark.parametrize("key", ["_target_", "_disabled_", "a::b", "$x"])
def test_a_key_that_means_something_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="mean something else here. Rename them"):
        verbatim({"settings": {key: 1}})
