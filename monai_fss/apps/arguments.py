# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import Any

from monai_fss.apps.errors import UsageError

__all__ = ["add_bundle_arguments", "case_names", "gigabytes", "label_values", "support_slices"]

_UNITS = {"MB": 1e-3, "GB": 1.0, "TB": 1e3}


class _Several(argparse.Action):
    """``--bundle a --bundle b`` is ``--bundle a b``; what is given takes the place of the default."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add the values to those given before."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is self.default else [*before, *values])


def add_bundle_arguments(
    parser: argparse.ArgumentParser,
    config: str,
    example: str,
    default: str | None = "adnet",
    why: str = "adnet",
    several: bool = False,
) -> None:
    """Add ``--bundle``, ``--device`` and ``--set``.

    Args:
        parser: of the command.
        config: configuration file that ``--set`` changes, such as "train.yaml".
        example: of a setting of it.
        default: bundle, or None where it depends.
        why: the default in words.
        several: whether the command takes more than one bundle, and so gives a list.
    """
    if several:
        parser.add_argument(
            "--bundle",
            nargs="+",
            default=[default],
            action=_Several,
            help=f"method(s), such as crapnet:blocks_7 (default: {why})",
        )
    else:
        parser.add_argument("--bundle", default=default, help=f"method (default: {why})")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"settings of the bundle's configs/{config}, such as {example} (listed by `monai-fss info --bundle NAME`)",
    )


def case_names(text: str, known: Collection[str]) -> list[str]:
    """The names of an option such as ``--cases A,B,C``.

    Args:
        text: names between commas. A name may have commas in it: the longest one that is known is taken.
        known: cases that there are.

    Returns:
        names in the order given; what is not known is a name by itself.
    """
    pieces = text.split(",")
    names: list[str] = []
    while pieces:
        ends = [n for n in range(len(pieces), 0, -1) if ",".join(pieces[:n]).strip() in known]
        end = ends[0] if ends else 1
        names.append(",".join(pieces[:end]).strip())
        pieces = pieces[end:]
    return [name for name in names if name]


def support_slices(text: str) -> int | str:
    """The value of --support-slices: "middle", "all" or a number.

    Raises:
        UsageError: it is none of them.
    """
    if text in ("middle", "all"):
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--support-slices {text}: is not understood. Give middle, all, or a number of at least 1.")


def gigabytes(text: str, option: str) -> float:
    """The value of an option such as ``--cache-size 20GB``, in GB; 0 needs no unit.

    Raises:
        UsageError: it is no such size.
    """
    number, unit = text.strip()[:-2], text.strip()[-2:].upper()
    if text.strip() == "0":
        return 0.0
    if unit not in _UNITS or not re.fullmatch(r"\d+(\.\d+)?", number.strip()):
        raise UsageError(f"{option} {text}: is not a size. Write it as 500MB, 20GB or 1.5TB, or 0 for none.")
    return float(number) * _UNITS[unit]


def label_values(text: str | None, option: str = "--labels") -> list[int] | None:
    """The values of an option such as ``--labels 1,4``, or None.

    Raises:
        UsageError: it is no list of positive numbers, or names one twice.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"{option} {text}: is not a list of label values. Write them as 1,4.")
    values = [int(word) for word in words]
    if len(set(values)) < len(values):
        raise UsageError(f"{option} {text}: names a value twice. Name each once.")
    return values
