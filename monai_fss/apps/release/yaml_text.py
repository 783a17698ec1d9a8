# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Other values in a bundle's YAML, whose comments and order stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from monai_fss.data import verbatim

__all__ = ["with_values"]


def with_values(text: str, values: Mapping[str, Any], expressions: bool = True) -> str:
    """
    A YAML text with other values of keys at its top.

    Args:
        text: of the file.
        values: key to plain value; a key that is not there is passed over. Of a mapping the entries that the file has
            besides stay. What a ConfigParser would evaluate is written so that it does not.
        expressions: whether values that are computed there are replaced too. Default: they are.

    Returns:
        the text; a comment stays beside the value that it stood beside, if that is on one line.
    """
    known = yaml.safe_load(text)
    for key, value in values.items():
        before = known.get(key)
        computed = isinstance(before, str) and before.startswith(("$", "@", "%"))
        if key not in known or (computed and not expressions):
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            value = {**before, **verbatim(value)}
        else:
            value = verbatim(value)
        text = _replaced(text, key, _flow(value))
    return text


def _replaced(text: str, key: str, value: str) -> str:
    found = re.search(rf"^{re.escape(key)}:.*\n(?:[ \t]+.*\n|- .*\n)*", text, re.MULTILINE)
    assert found is not None, f"{key} stands in the file, but not at the beginning of a line"
    block = found[0]
    line = f"{key}: {value}"
    comment = re.search(r"\s#\s.*$", block.rstrip("\n")) if block.count("\n") == 1 else None
    if comment is not None:  # in its column, where there is room
        line = f"{line.ljust(max(comment.start() + 1, len(line) + 2))}{comment[0].strip()}"
    line += "\n"
    return text[: found.start()] + line + text[found.end() :]


def _flow(value: Any) -> str:
    """On one line, as it stands in a mapping."""
    text = yaml.safe_dump(
        {"k": value}, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.strip()[len("{k: ") : -1]
