# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How far a boundary may lie from the true one to count as right, organ by organ."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

__all__ = ["DEFAULT_TOLERANCE", "TOLERANCES", "parse_tolerances", "tolerance_mm"]

TOLERANCES: Mapping[str, float] = {
    "liver": 5.0,
    "kidney": 3.0,
    "spleen": 3.0,
    "pancreas": 5.0,
    "aorta": 2.0,
    "inferior_vena_cava": 2.0,
    "adrenal": 2.0,
    "gallbladder": 2.0,
    "esophagus": 3.0,
    "stomach": 5.0,
    "duodenum": 7.0,
}
"""mm, of the FLARE 2022 challenge (abdominal CT), which took them from how far annotators differ."""
DEFAULT_TOLERANCE = 2.0
"""mm of organs that are not in the table: that of its thinnest ones."""
_OTHER_NAMES = {"oesophagus": 3.0, "ivc": 2.0, "postcava": 2.0, "suprarenal": 2.0}
_MOST = 100.0


def tolerance_mm(organ: str, own: Mapping[str, float] | None = None) -> float:
    """The tolerance of an organ: the first whose words stand in its name, one after another.

    Case, hyphens and a plural's s do not matter: "kidney" is in "Left Kidney" and in "kidneys".

    Args:
        organ: its name.
        own: tolerances that go before the table's, name to mm; ``""`` is that of all organs that it does not name.

    Returns:
        mm: its own, the table's, or :data:`DEFAULT_TOLERANCE`.
    """
    words = _words(organ)
    named = sorted((own or {}).items(), key=lambda pair: not _words(pair[0]))  # "" comes last, and is in every name
    known = [*named, *TOLERANCES.items(), *_OTHER_NAMES.items()]
    return next((mm for name, mm in known if _within(_words(name), words)), DEFAULT_TOLERANCE)


def parse_tolerances(text: str) -> dict[str, float]:
    """Tolerances as they are typed: ``"liver=5,spleen=3"``, and ``"2"`` for all that are not named.

    Returns:
        for ``own`` of :func:`tolerance_mm`.

    Raises:
        ValueError: a part is not understood, is there twice, or is not above 0 and at most 100 mm.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.rpartition("=")
        key = " ".join(_words(name))
        try:
            mm = float(number)
        except ValueError:
            mm = math.nan
        if not 0 < mm <= _MOST or key in found or bool(equals) != bool(key):
            raise ValueError(
                f"{text!r}: {part.strip()!r} is not understood, or there twice. Write liver=5,spleen=3, or one number "
                f"for all organs, in mm, above 0 and at most {_MOST:g}."
            )
        found[key] = mm
    return found


def _words(name: str) -> list[str]:
    """In small letters, without a plural's s."""
    return [word.removesuffix("s") for word in re.split(r"[\W_]+", name.lower()) if word]


def _within(key: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the words of a key follow one another in a name."""
    return any(list(words[at : at + len(key)]) == list(key) for at in range(len(words) - len(key) + 1))
