# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Settings of a bundle's configuration, as they are typed on a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.data import verbatim

__all__ = ["device_setting", "parse_settings", "split_pairs"]

_WORKFLOWS = {"train": "training", "evaluate": "evaluation"}
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),  # before the numbers, of which Python takes it for one
    ((int, float), "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "a mapping"),
)
_PATHS = ("cache_dir", "checkpoint_dir", "pretrained")
"""Settings that are a path or nothing, and so have no text by which that could be told."""
_SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def split_pairs(text: str) -> list[str]:
    """Divide "a,b=1,c=[1,2]" at the commas that are in no bracket, brace or quotation."""
    words, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "[{(") - (character in "]})")
        if character == "," and not depth and not quote:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words]


def parse_settings(
    pairs: Sequence[str],
    files: Sequence[Path],
    reserved: Mapping[str, str] | None = None,
    option: str = "--set ",
) -> dict[str, Any]:
    """
    Read the ``key=value`` pairs of ``--set``.

    A value is YAML: ``0.01``, ``true``, ``null``, ``[-125, 275]``; ``1e-3`` is a number here (in YAML it is text). A
    key must exist in the configuration, and a value must be of its kind where the configuration has a plain one, and in
    its range (:data:`monai_fss.engines.setting_table.SETTINGS`); where that is a text, such as a name or a file, the
    value is taken as it was typed. Nothing in it is evaluated.

    Args:
        pairs: such as ``"steps=500"`` or ``"elastic::rotate=0.1"`` (``elastic#rotate`` is the same).
        files: the configuration, see :func:`config_keys`.
        reserved: keys that have an option of their own, and that option.
        option: what stands before the pair where it was typed, for messages.

    Returns:
        key, with ``::`` between levels, to value.

    Raises:
        UsageError: with every problem of every pair; an unknown key comes with the nearest known one.

    Example::

        parse_settings(["steps=500", "window=[-125, 275]"], Method("adnet").files)
    """
    if not pairs:
        return {}
    known, settings, problems = config_keys(files), {}, []
    for pair in pairs:
        try:
            key, value = _parse(pair, known, option)
            if key in settings:
                raise UsageError(f"{option}{key}: is given twice. Give it once.")
            if key in (reserved or {}):
                raise UsageError(f"{option}{key}: has an option of its own. Use {(reserved or {})[key]}.")
            if key not in known:
                raise UsageError(f"{option}{key}: no such setting of {_owner(files)}. {_nearest(key, known, files)}")
            settings[key] = _in_range(key, _of_kind(key, value, known, option), known, option)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(problems)
    return settings


def device_setting(device: str | None) -> dict[str, str]:
    """
    The setting that has a configuration compute on a device.

    Args:
        device: "cpu" or "cuda". None leaves the choice to the bundle.

    Returns:
        ``{"device": device}``, or nothing for None.

    Raises:
        UsageError: PyTorch sees no such device.
    """
    if device is None:
        return {}
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no CUDA device here. Leave --device out, or give cpu.")
    return {"device": device}


def _parse(pair: str, known: Mapping[str, Any], option: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    key = key.strip().replace("#", "::")
    if not equals or not key:
        raise UsageError(f"{option}{pair}: is not KEY=VALUE. Write for example steps=500.")
    typed = text[:1] not in ("'", '"')
    if typed and text != "null" and (_is_text(known.get(key)) or key in _PATHS or text[:1] in ("@", "%", "`")):
        return key, text  # YAML would take 007 for a number
    try:
        value = yaml.safe_load(text)
        json.dumps(value, allow_nan=False)
        verbatim(value)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{option}{pair}: value cannot be read ({reason}). Write it as in YAML: 0.5, [1, 2]."
        ) from error
    if not isinstance(value, str):
        return key, value
    value = text if typed else value  # of which YAML leaves out what follows a " #"
    return key, float(value) if typed and _SCIENTIFIC.fullmatch(value) else value


def _of_kind(key: str, value: Any, known: Mapping[str, Any], option: str) -> Any:
    """Refuse a value of another kind than the plain default, unless the table of settings has it too; an expression,
    such as ``$@steps // 2``, may be any.

    1e3 becomes 1000 where the bundle has a whole number: it may be a count.
    """
    from monai_fss.engines.setting_checks import range_of

    default = known[key]
    if default is None or (isinstance(default, str) and not _is_text(default)):
        return value
    kind, name = next((kind, name) for kind, name in _KINDS if isinstance(default, kind))
    if not isinstance(value, kind) or isinstance(value, bool) != isinstance(default, bool):
        found = range_of(key, default, known)
        if found is not None and found.fits(value):
            return value
        raise UsageError(f"{option}{key}={value}: is not {name}. The bundle has {default}.")
    if isinstance(default, int) and isinstance(value, float):
        if value.is_integer():
            return int(value)
        if "::" not in key:
            raise UsageError(f"{option}{key}={value}: is not a whole number. The bundle has {default}.")
    return value


def _in_range(key: str, value: Any, known: Mapping[str, Any], option: str) -> Any:
    """Refuse a value that the table of settings does not allow."""
    from monai_fss.engines.setting_checks import setting_problems

    problems = setting_problems({key: value}, known)
    if problems:
        raise UsageError(f"{option}{problem}" for problem in problems)
    return value


def _is_text(default: Any) -> bool:
    return isinstance(default, str) and not default.startswith(("$", "@", "%"))


def _owner(files: Sequence[Path]) -> str:
    stem = files[0].stem
    return f"{files[0].parent.parent.name}'s {_WORKFLOWS.get(stem, stem)}"


def _nearest(key: str, known: Mapping[str, Any], files: Sequence[Path]) -> str:
    pool = [name for name in known if "::" in key or "::" not in name]
    ends = [name for name in known if name.endswith(f"::{key}")]
    found = ends or get_close_matches(key, pool, n=1) or get_close_matches(key, list(known), n=1)
    return f"Did you mean {found[0]}?" if found else f"They are listed in {files[0]}."
