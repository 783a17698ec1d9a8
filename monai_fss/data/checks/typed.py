# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What was typed on the command line of ``python -m monai.bundle``, and what MONAI made of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

__all__ = ["check_places"]

MONAI_COMMAND = ("monai", "bundle", "__main__.py")
OWN: tuple[str, ...] = (
    "run_id",
    "init_id",
    "final_id",
    "meta_file",
    "config_file",
    "logging_file",
    "tracking",
    "args_file",
)
OWN += ("workflow_name", "workflow_type", "tracking_uri", "experiment_name", "run_name", "save_execute_config")
"""Arguments of the command itself, and of its tracking by MLflow; all others change the configuration."""


def check_places(*places: Any) -> None:
    """End the program with exit code 2 where MONAI's command line has changed a path on its way here, or sets something
    that the configuration does not have.

    ``python -m monai.bundle`` reads ``#`` in a value as ``::``, or as the beginning of a comment: results would lie in
    a folder of another name, with no word of it. (What begins with ``$``, ``@`` or ``%`` it runs or replaces: that no
    bundle can help.) It takes any name for a setting: a mistyped one changes nothing, with no word of it either.

    Args:
        places: paths of the configuration, or lists of them.

    Raises:
        SystemExit: 2, after the problems have been printed.
    """
    if Path(sys.argv[0]).parts[-3:] != MONAI_COMMAND:
        return
    typed = {part for word in sys.argv for part in (word, word.partition("=")[2]) if "#" in part}
    changed = {part.replace("#", "::"): part for part in typed}
    changed |= {before: part for part in typed if (before := part.partition("#")[0].rstrip())}
    paths = [str(path) for place in places for path in (place if isinstance(place, (list, tuple)) else [place])]
    problems = _unknown(sys.argv[1:]) + [
        f"{path}: is not what was typed ({changed[path]}): MONAI's command does not take # for itself. Use a name "
        "without it, or monai-fss."
        for path in paths
        if path in changed
    ]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit(2)


def _unknown(words: Sequence[str]) -> list[str]:
    """What is set that stands in none of the configuration's files, with the name most like it."""
    from monai.bundle import ConfigParser

    typed = dict(_typed(words))
    if "args_file" in typed:
        typed = {**ConfigParser.load_config_file(typed["args_file"]), **typed}
    files = typed.get("config_file")
    if not files:
        return []
    known = {name.lstrip("+") for file in _files(files) for name in ConfigParser.load_config_file(file)}
    names = {name: name.lstrip("+").replace("#", "::").partition("::")[0] for name in typed if name not in OWN}
    return [
        f"--{name}: the configuration has no {own}. {_nearest(own, sorted(known))}"
        for name, own in names.items()
        if own not in known and not own.startswith("_")
    ]


def _typed(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each ``--name value`` and ``--name=value``; a name has ``_`` for ``-``, as Fire reads it."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            yield name.replace("-", "_"), value if equals else after


def _files(value: Any) -> list[str]:
    """The files of ``--config_file``: one, or a list in brackets."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "(")):
        value = ast.literal_eval(value)
    return [str(file) for file in value] if isinstance(value, (list, tuple)) else [str(value)]


def _nearest(name: str, known: Sequence[str]) -> str:
    found = get_close_matches(name, known, n=1)
    return f"Did you mean {found[0]}?" if found else "Its settings stand at the top of the file."
