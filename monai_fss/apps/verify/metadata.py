# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a bundle's ``configs/metadata.json`` has to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.verify.lines import place

__all__ = ["SCHEMA", "metadata_problems"]

SCHEMA = "meta_schema_20240725.json"
"""The zoo's schema that is known here, by what it requires; it is not downloaded."""
TEXTS: tuple[str, ...] = ("schema", "version", "monai_version", "pytorch_version", "numpy_version")
TEXTS += ("task", "description", "authors", "copyright")
OBJECTS = ("required_packages_version", "network_data_format")
MAY_BE_OBJECTS = ("changelog", "eval_metrics", "supported_apps")
TENSOR = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")
KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("type", "format", "dtype"), lambda value: isinstance(value, str)),
    "num_channels": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "spatial_shape": lambda value: isinstance(value, list) and all(isinstance(side, (str, int)) for side in value),
    "value_range": lambda value: isinstance(value, list) and all(isinstance(end, (int, float)) for end in value),
    "channel_def": lambda value: isinstance(value, dict),
}


def metadata_problems(file: Path) -> list[str]:
    """
    What is wrong with the metadata.

    Args:
        file: configs/metadata.json.

    Returns:
        a sentence for each, ``<file>:<line>: <what is wrong>. <what to do>.``
    """
    doubled: list[str] = []
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _once(pairs, doubled))
    except json.JSONDecodeError as error:
        return [f"{file}:{error.lineno}: is no JSON ({error.msg}). Correct it."]
    except UnicodeDecodeError:
        return [f"{file}: is no text in UTF-8. Write it anew."]
    if not isinstance(content, dict):
        return [f"{file}:1: is no object. Write {{...}}."]
    problems = [f"{file}: has the key {key} twice in one object, of which one counts. Remove one." for key in doubled]
    problems += _kinds(file, content)
    schema = content.get("schema")
    if isinstance(schema, str) and schema.rpartition("/")[2] != SCHEMA:
        problems.append(f"{place(file, 'schema')}: {schema} is not the schema that is known here. Name .../{SCHEMA}.")
    version, changes = content.get("version"), content.get("changelog")
    if not isinstance(changes, dict):
        problems.append(f"{place(file, 'changelog')}: changelog is missing. Add it, with an entry for {version}.")
    elif isinstance(version, str) and version not in changes:
        known = ", ".join(changes) or "nothing"
        problems.append(
            f"{place(file, 'version')}: version {version} is not in the changelog, which has {known}. Add what changed."
        )
    if isinstance(content.get("network_data_format"), dict):
        problems += _formats(file, content["network_data_format"])
    return problems


def _once(pairs: list[tuple[str, Any]], doubled: list[str]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    doubled += sorted({name for name in names if names.count(name) > 1})
    return dict(pairs)


def _kinds(file: Path, content: Mapping[str, Any]) -> list[str]:
    problems = []
    for keys, kind, word in ((TEXTS, str, "a text"), (OBJECTS, dict, "an object"), (("references",), list, "a list")):
        for key in keys:
            if key not in content and key != "references":
                problems.append(f"{file}: {key} is missing. {SCHEMA} asks for it, {word}.")
            elif key in content and not isinstance(content[key], kind):
                problems.append(f"{place(file, key)}: {key} is {_kind(content[key])}. Write {word}.")
    for key in MAY_BE_OBJECTS:
        if key in content and not isinstance(content[key], dict):
            problems.append(f"{place(file, key)}: {key} is {_kind(content[key])}. Write an object.")
    return problems


def _formats(file: Path, formats: Mapping[str, Any]) -> list[str]:
    problems = []
    for side, wanted in (("inputs", "image"), ("outputs", "pred")):
        own, keys = formats.get(side), ("network_data_format", side)
        if not isinstance(own, dict) or wanted not in own:
            problems.append(f"{place(file, *keys)}: {side} has no {wanted}, by which MONAI's tools look. Add it.")
            continue
        for name, tensor in own.items():
            missing = [key for key in TENSOR if not isinstance(tensor, dict) or key not in tensor]
            if missing:
                problems.append(f"{place(file, *keys, name)}: {name} has no {', '.join(missing)}. Add it.")
            elif wrong := [key for key, fits in KINDS.items() if key in tensor and not fits(tensor[key])]:
                problems.append(
                    f"{place(file, *keys, name, wrong[0])}: {wrong[0]} of {name} cannot be {tensor[wrong[0]]!r}. Write "
                    "whole numbers of channels, lists of sizes and numbers, texts else."
                )
            elif isinstance(tensor.get("channel_def"), dict) and len(tensor["channel_def"]) < tensor["num_channels"]:
                problems.append(
                    f"{place(file, *keys, name, 'num_channels')}: {name} has {tensor['num_channels']} channels, and "
                    f"channel_def names {len(tensor['channel_def'])}. Name each."
                )
    return problems


def _kind(value: Any) -> str:
    names = {str: "a text", dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
