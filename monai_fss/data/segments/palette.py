# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The one palette: an organ has the same colour in pictures, in tables of colours and in segmentations."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["COLOURS", "colour_of", "organ_colours", "rgb"]

# Okabe and Ito's colour-blind-safe palette without black; the dark blue, hard to see on a scan, comes last.
COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
# How far the colours of each further round are mixed, and with what: white is seen on a scan, so it comes first.
_ROUNDS = ((255, 0.5), (0, 0.35), (255, 0.25), (0, 0.6), (255, 0.75), (0, 0.2))


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of ``"#RRGGBB"``.

    Raises:
        ValueError: it is none.
    """
    if len(colour) != 7 or colour[0] != "#":
        raise ValueError(f"colour {colour!r}: is not of the form #RRGGBB.")
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def colour_of(red: float, green: float, blue: float) -> str:
    """``"#RRGGBB"`` of red, green and blue, 0 to 255, rounded."""
    return "#" + "".join(f"{min(max(round(part), 0), 255):02X}" for part in (red, green, blue))


def organ_colours(values: Iterable[int]) -> dict[int, str]:
    """
    Colours of label values, by their place among all.

    The first seven have :data:`COLOURS`, the next ones these lighter, then darker, and so on: 49 differ; then they
    begin again.

    Args:
        values: label values, in the order in which they are named.

    Returns:
        value to ``"#RRGGBB"``.
    """
    return {value: _colour(place) for place, value in enumerate(dict.fromkeys(values))}


def _colour(place: int) -> str:
    rounds, number = divmod(place, len(COLOURS))
    rounds %= len(_ROUNDS) + 1
    if not rounds:
        return COLOURS[number]
    tone, share = _ROUNDS[rounds - 1]
    red, green, blue = (part + share * (tone - part) for part in rgb(COLOURS[number]))
    return colour_of(red, green, blue)
