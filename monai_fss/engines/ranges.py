# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which values a setting may have: numbers of a range, names, lists of these; each says so in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Either", "Listed", "Mapped", "Name", "Null", "Number", "Range", "Switch", "Text"]


class Range(Protocol):
    """What a setting may be. ``str(range)`` says it in words that follow "is" or "is not"."""

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        ...


@dataclass(frozen=True)
class Number:
    """
    A finite number; true and false are none.

    Args:
        least, most: of the range. Default: no limit.
        above, below: limits that are not part of it. Default: none.
        whole: whether it is a count.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        kind = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            return False
        low = (self.least is None or value >= self.least) and (self.above is None or value > self.above)
        return low and (self.most is None or value <= self.most) and (self.below is None or value < self.below)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.least is not None and self.most is not None:
            return f"{kind} from {self.least} to {self.most}"
        limits = (("of at least", self.least), ("above", self.above), ("of at most", self.most), ("below", self.below))
        return f"{kind} {' and '.join(f'{word} {limit}' for word, limit in limits if limit is not None)}".strip()


@dataclass(frozen=True)
class Switch:
    """True or false."""

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Name:
    """
    One of some names.

    Args:
        names: those that there are.
        begins: of further names, which somebody else knows. Default: there are none.
    """

    names: tuple[str, ...]
    begins: str = ""

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if not isinstance(value, str):
            return False
        return value in self.names or bool(self.begins and value.startswith(self.begins) and value != self.begins)

    def __str__(self) -> str:
        known = [*self.names, *([f"{self.begins}NAME"] if self.begins else [])]
        return f"one of {', '.join(known)}" if len(known) > 1 else known[0]


@dataclass(frozen=True)
class Text:
    """Any text."""

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        return isinstance(value, str)

    def __str__(self) -> str:
        return "a text"


@dataclass(frozen=True)
class Null:
    """
    Nothing, by which something else is chosen.

    Args:
        word: how it is typed.
    """

    word: str = "null"

    def fits(self, value: Any) -> bool:
        """Whether a value is this."""
        return value is None

    def __str__(self) -> str:
        return self.word


@dataclass(frozen=True)
class Listed:
    """
    A list.

    Args:
        entry: what each of its entries is.
        length: how many there are. Default: any number.
        rising: whether each is greater than the one before.
        distinct: whether none stands there twice.
        least: how many there are at least. Default 0.
    """

    entry: Range
    length: int | None = None
    rising: bool = False
    distinct: bool = False
    least: int = 0

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if not isinstance(value, (list, tuple)) or (self.length is not None and len(value) != self.length):
            return False
        if len(value) < self.least or not all(self.entry.fits(item) for item in value):
            return False
        if self.distinct and any(item in value[:place] for place, item in enumerate(value)):
            return False
        return not self.rising or all(a < b for a, b in zip(value, value[1:], strict=False))

    def __str__(self) -> str:
        count = f"{self.length}" if self.length is not None else f"{self.least} or more" if self.least else "any number"
        order = " and greater than the one before" if self.rising else ", none of them twice" if self.distinct else ""
        return f"a list of {count} in brackets, each {self.entry}{order}"


@dataclass(frozen=True)
class Mapped:
    """A mapping of settings, each of which has a range of its own."""

    def fits(self, value: Any) -> bool:
        """Whether a value is one."""
        return isinstance(value, Mapping)

    def __str__(self) -> str:
        return "a mapping"


@dataclass(frozen=True)
class Either:
    """
    One of several ranges.

    Args:
        ranges: of which a value must fit one.
    """

    ranges: Sequence[Range]

    def fits(self, value: Any) -> bool:
        """Whether a value is one of these."""
        return any(one.fits(value) for one in self.ranges)

    def __str__(self) -> str:
        return ", or ".join(map(str, self.ranges))
