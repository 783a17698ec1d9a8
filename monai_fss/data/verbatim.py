# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Values that MONAI's ConfigParser takes for nothing but themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

__all__ = ["verbatim"]

_PLAIN = re.compile(r"[A-Za-z0-9_/.,+\- ]*")  # in a text of these alone the parser sees nothing to be done


def verbatim(value: Any) -> Any:
    """
    Write a value that a user or a file name has given so that the parser hands it on as it is.

    The parser runs a text that begins with ``$``, replaces one that begins with ``@`` or ``%``, and reads ``#`` as
    ``::`` anywhere, in a file name too; a mapping with ``_target_`` it calls. Here such a text becomes an expression
    that is a string constant and nothing else, with all but letters, digits and the like escaped.

    Args:
        value: numbers, texts, paths, None, and lists, tuples and mappings of them; anything else is no text and is
            returned as it is.

    Returns:
        what to set in a ``ConfigParser``, or to give a ``ConfigWorkflow`` as an override. Lists and mappings keep their
        structure, so that references to their parts work.

    Raises:
        ValueError: a mapping has a key that means something to the parser.

    Example::

        parser["output_dir"] = verbatim("Patient #3")  # $'Patient \\x233'
    """
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else "$'" + "".join(map(_escaped, value)) + "'"
    if isinstance(value, (list, tuple)):
        return [verbatim(item) for item in value]
    if isinstance(value, Mapping):
        odd = [key for key in value if isinstance(key, str) and (key.startswith("_") or not _PLAIN.fullmatch(key))]
        if odd:
            raise ValueError(f"keys {', '.join(map(repr, odd))} of a setting mean something else here. Rename them.")
        return {key: verbatim(item) for key, item in value.items()}
    return value


def _escaped(character: str) -> str:
    if _PLAIN.fullmatch(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
