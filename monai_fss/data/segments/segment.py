# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is known of an organ in a mask besides its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from monai_fss.data.segments.palette import organ_colours

__all__ = ["Segment", "one_line", "segments_of"]


class Segment(NamedTuple):
    """
    An organ of a mask.

    Args:
        value: label value, 1 or more.
        name: such as ``"right_kidney"``.
        colour: ``"#RRGGBB"``.
    """

    value: int
    name: str
    colour: str


def segments_of(names: Mapping[int, str]) -> list[Segment]:
    """The organs of a run, in the order of their values, in the colours of the palette by their order in ``names``."""
    colours = organ_colours(names)
    return [Segment(value, names[value], colours[value]) for value in sorted(names)]


def one_line(name: str) -> str:
    """A name as a line of a table holds it: every run of white space is one space, and nothing else is invisible."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())
