# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is wrong with a user's files: the exception, the warning and the collector."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike

__all__ = ["Findings", "InputWarning", "ScanError"]


class ScanError(ValueError):
    """
    Files that cannot be worked with. The text is one problem per line.

    Each problem reads ``<file>: <what is wrong, with values>. <what to do>.``

    Args:
        problems: one text, or several.

    Attributes:
        problems: the texts as a list.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[ScanError], tuple[list[str]]]:
        """Rebuild from the list, so that a worker process can hand the error on whole."""
        return type(self), (self.problems,)


class InputWarning(UserWarning):
    """A file that can be worked with but looks like a mistake."""


@dataclass
class Findings:
    """
    Collects every problem and every doubt about one file or folder before anything stops.

    Args:
        path: the file or folder that the texts name first.
    """

    path: str | PathLike[str]
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def refuse(self, wrong: str, remedy: str) -> None:
        """Note what makes the file unusable; ``wrong`` and ``remedy`` come without a full stop."""
        self.problems.append(f"{self.path}: {wrong}. {_ended(remedy)}")

    def warn(self, odd: str, remedy: str) -> None:
        """Note what looks like a mistake; becomes an :class:`InputWarning`."""
        self.doubts.append(f"{self.path}: {odd}. {_ended(remedy)}")

    def raise_if_any(self) -> None:
        """
        Give the warnings and, if there is any problem, stop.

        Raises:
            ScanError: with all problems.
        """
        for doubt in self.doubts:
            warnings.warn(doubt, InputWarning, stacklevel=3)
        if self.problems:
            raise ScanError(self.problems)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."
