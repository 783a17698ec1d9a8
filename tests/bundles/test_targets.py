# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a bundle's configuration instantiates is a class or a function, whatever the version of Python."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "bundles"
FILES = sorted(FOLDER.glob("*/configs/*.yaml"))


def is_module(name: str) -> bool:
    """Whether a module of ours has this full name."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a part before the last is no package
        return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_no_target_has_the_name_of_a_module(path: Path) -> None:
    # Python 3.12 and newer find the module of that name, and MONAI then takes it for the function in it.
    targets = re.findall(r"_target_: (monai_fss[\w.]+)", path.read_text(encoding="utf-8"))
    assert not [name for name in targets if is_module(name)]


def test_the_rule_sees_a_module() -> None:
    assert is_module("monai_fss.inferers.support") and not is_module("monai_fss.inferers.SupportSet")
