# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The settings of a bundle, with what they may be and what its configuration says of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.method import Method

__all__ = ["setting_list"]

_LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<rest>.*)")
_COMMENT = re.compile(r"(?:^| )# *(.+)$")


def setting_list(method: Method, reserved: Mapping[str, Collection[str]]) -> dict[str, list[dict[str, str]]]:
    """
    The settings of a method that can be changed by ``--set``.

    Args:
        method: with its recipe, whose values are shown.
        reserved: command to keys that have an option of their own, and are left out.

    Returns:
        command ("train", "segment") to rows with "setting", "default", "may be" (see
        :data:`monai_fss.engines.setting_table.SETTINGS`) and "comment", what stands beside it in the configuration.
    """
    files = {"train": method.files} if method.is_trained else {}
    files["segment"] = [method.inference_file]
    return {command: _rows(own, reserved[command]) for command, own in files.items()}


def _rows(files: list[Path], reserved: Collection[str]) -> list[dict[str, str]]:
    from monai_fss.engines.setting_checks import range_of
    from monai_fss.engines.setting_table import FREE

    known, comments = config_keys(files), {key: text for file in files for key, text in _comments(file).items()}
    rows = []
    for key, default in known.items():
        found = range_of(key, default, known) or FREE.get(key)
        if found is not None and key not in reserved:
            shown = "(computed)" if isinstance(default, str) and default.startswith(("$", "@", "%")) else _yaml(default)
            rows.append({"setting": key, "default": shown, "may be": str(found), "comment": comments.get(key, "")})
    return rows


def _comments(file: Path) -> dict[str, str]:
    """What stands beside each key in a configuration, one level deep."""
    found, parent = {}, ""
    for line in file.read_text(encoding="utf-8").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        parent = parent if match["indent"] else match["key"]
        comment = _COMMENT.search(match["rest"])
        if comment:
            found[f"{parent}::{match['key']}" if match["indent"] else match["key"]] = comment[1].strip()
    return found


def _yaml(value: object) -> str:
    words = {True: "true", False: "false"}
    return "null" if value is None else words[value] if isinstance(value, bool) else str(value)
