# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scans are done by one of several processes that are started with the same command (nnU-Net's convention)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from monai_fss.apps.errors import UsageError
from monai_fss.data.files.output import part_name

__all__ = ["WHOLE", "Part", "add_part_arguments", "given_part", "parts_in"]

T = TypeVar("T")
_NAME = re.compile(r"(?P<stem>.*)\.part_(?P<number>\d+)_of_(?P<count>\d+)(?P<suffix>\.\w+)")


@dataclass(frozen=True, order=True)
class Part:
    """
    Scans ``number``, ``number + count``, ... of the sorted list.

    Args:
        number: from 0.
        count: how many parts there are. 1: all scans, and files without a part in their name.
    """

    number: int = 0
    count: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is all of it."""
        return self.count == 1

    @property
    def as_slice(self) -> slice:
        """Of the sorted list."""
        return slice(self.number, None, self.count)

    def of(self, things: Sequence[T]) -> list[T]:
        """Those that are its own."""
        return list(things)[self.as_slice]

    def file(self, name: str) -> str:
        """Name of its own file: ``quality.csv`` is ``quality.part_0_of_3.csv``."""
        return part_name(name, self.number, self.count)

    def all(self) -> list[Part]:
        """The parts of which it is one."""
        return [Part(number, self.count) for number in range(self.count)]

    def __str__(self) -> str:
        return f"part {self.number} of {self.count}"


WHOLE = Part()


def parts_in(folder: Path) -> Iterator[tuple[str, Part, Path]]:
    """The files of parts in a folder: the name without its part, the part, and the file; sorted."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _NAME.fullmatch(path.name)
        if found:
            part = Part(int(found["number"]), int(found["count"]))
            yield found["stem"] + found["suffix"], part, path


def add_part_arguments(parser: argparse.ArgumentParser, what: str = "scans") -> None:
    """Add ``--num-parts`` and ``--part-id``."""
    parser.add_argument(
        "--num-parts",
        type=int,
        default=1,
        metavar="N",
        help=f"do every N-th of the {what}: start the command N times, on any machines that share the folders",
    )
    parser.add_argument(
        "--part-id", type=int, metavar="K", help="which of the N, from 0; the last to finish joins the tables"
    )


def given_part(args: argparse.Namespace) -> Part:
    """The part that is asked for.

    Raises:
        UsageError: there is no such part, or one of the options stands alone.
    """
    count, number = args.num_parts, args.part_id
    if count < 1:
        raise UsageError(f"--num-parts {count}: is less than 1. Give the number of processes.")
    if number is None and count > 1:
        raise UsageError(f"--num-parts {count}: needs --part-id, a number from 0 to {count - 1}.")
    if number is not None and not 0 <= number < count:
        raise UsageError(f"--part-id {number}: is not among the {count} of --num-parts; they are counted from 0.")
    return Part(number or 0, count)
