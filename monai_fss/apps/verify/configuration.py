# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a bundle's configurations can be parsed, refer to what there is, and hold nothing of somebody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from pydoc import locate
from typing import Any

import yaml

from monai_fss.apps.verify.files import config_file
from monai_fss.apps.verify.lines import place, scalars

__all__ = ["configuration_problems"]

NEEDED = ("device", "network_def", "preprocessing", "inferer", "postprocessing")
"""What MONAI Label and MONAI Deploy look for in the inference."""
OVER = {"evaluate": "inference", "inference_trt": "inference"}
"""What a file is merged over; all others that are not whole by themselves are merged over train."""
WHOLE = ("inference", "train", "pretrain", "propagate", "teach")
_PERSONAL = re.compile(r"^(/(?!/)|~|[A-Za-z]:[\\/])|/(home|Users)/")
_EXPRESSION = ("$", "@", "%")


def configuration_problems(folder: Path) -> list[str]:
    """
    What is wrong with the configurations.

    Args:
        folder: of the bundle.

    Returns:
        a sentence for each, ``<file>:<line>: <what is wrong>. <what to do>.``
    """
    files = sorted(path for kind in ("yaml", "yml", "json") for path in (folder / "configs").glob(f"*.{kind}"))
    read, problems = {}, []
    for file in files:
        if file.stem == "metadata":
            continue
        try:
            read[file.stem] = (file, _mapping(file))
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            problems.append(f"{file}{line}: cannot be read ({error.problem}). Correct it.")
        except (TypeError, UnicodeDecodeError) as error:
            problems.append(f"{file}: cannot be read ({error}). Correct it.")
    inference = config_file(folder, "inference")
    if inference is not None and "inference" in read:
        missing = [key for key in NEEDED if key not in read["inference"][1]]
        problems += [f"{inference}: has no {key}, by which MONAI Label and Deploy look. Add it." for key in missing]
    for stem, (file, own) in read.items():
        base = None if stem in WHOLE else read.get(OVER.get(stem, "train"))
        problems += _unknown(file, own, base) + _targets(file, own)
        problems += _references(file, own, base[1] if base else {}) + _personal(file)
    return problems


def _mapping(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError("it holds no mapping")
    return content


def _unknown(file: Path, own: Mapping[str, Any], base: tuple[Path, Mapping[str, Any]] | None) -> list[str]:
    """Names at the top that change nothing: the file below has none such, and nothing refers to them."""
    if base is None:
        return []
    used = {ref.partition("::")[0] for _, ref in (*_refs(own), *_refs(base[1]))}
    problems = []
    for key in own:
        name = key.lstrip("+")
        if name not in base[1] and name not in used and name not in (file.stem, "evaluating", "finalize"):
            near = get_close_matches(name, list(base[1]), n=1)
            advice = f"Did you mean {near[0]}?" if near else "Leave it out."
            problems.append(f"{place(file, key)}: {base[0].name} has no {name}, and nothing refers to it. {advice}")
    return problems


def _references(file: Path, own: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    known = {**base, **{key.lstrip("+"): value for key, value in own.items()}}
    problems = []
    for keys, ref in _refs(own):
        if ref.partition("::")[0] not in known:
            near = get_close_matches(ref.partition("::")[0], list(known), n=1)
            advice = f"Did you mean @{near[0]}?" if near else "Define it, or leave it out."
            problems.append(f"{place(file, *keys)}: refers to @{ref}, which is not defined. {advice}")
    return problems


def _refs(content: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where each reference stands, and what it refers to."""
    from monai.bundle import ReferenceResolver

    for keys, value in _values(content):
        if isinstance(value, str) and "@" in value:
            for ref in ReferenceResolver.match_refs_pattern(value):
                yield keys, ref


def _targets(file: Path, own: Mapping[str, Any]) -> list[str]:
    from monai.bundle import ConfigComponent

    problems = []
    for keys, value in _values(own):
        if keys[-1] != "_target_" or not isinstance(value, str) or value.startswith(_EXPRESSION):
            continue
        name = ConfigComponent({"_target_": value}).resolve_module_name()
        if locate(name) is None:
            problems.append(
                f"{place(file, *keys)}: {value} cannot be imported. Correct its name, or install its package."
            )
    return problems


def _personal(file: Path) -> list[str]:
    return [
        f"{file}:{line}: {text} is a path of one machine. Write it as a part of @bundle_root."
        for line, text in scalars(file)
        if not text.startswith(_EXPRESSION) and _PERSONAL.search(text)
    ]


def _values(content: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _values(value, (*keys, str(key)))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _values(value, (*keys, str(number)))
    elif keys:
        yield keys, content
