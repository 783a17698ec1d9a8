# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where in a file of a bundle something stands."""

from __future__ import annotations

from pathlib import Path

import yaml

__all__ = ["place", "scalars"]


def place(file: Path, *keys: str | int) -> str:
    """
    ``<file>:<line>`` of a value in a YAML or JSON file; of what it would stand in, where it is not there.

    Args:
        file: the file.
        keys: from the top to the value, as ``"network_data_format", "inputs", "image"``; numbers in lists.
    """
    node, line = _root(file), None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(own, value) for own, value in node.value if own.value == str(key)]
            if not found:
                break
            line, node = found[-1][0].start_mark.line, found[-1][1]
        elif isinstance(node, yaml.SequenceNode) and str(key).isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line
        else:
            break
    return str(file) if line is None else f"{file}:{line + 1}"


def scalars(file: Path) -> list[tuple[int, str]]:
    """Line and text of every value of a file that is neither a list nor a mapping."""
    found: list[tuple[int, str]] = []
    nodes = [_root(file)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.ScalarNode):
            found.append((node.start_mark.line + 1, node.value))
    return sorted(found)


def _root(file: Path) -> yaml.Node | None:
    try:
        return yaml.compose(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return None
