# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Mistakes on a command line."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["UsageError", "cause_of"]


class UsageError(ValueError):
    """
    A command that cannot be carried out as it was given. The text is one problem per line.

    Args:
        problems: one text, or several; each ``<option>: <what is wrong, with values>. <what to do>.``

    Attributes:
        problems: the texts as a list.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def cause_of(error: BaseException) -> str:
    """The first words of what went wrong at the bottom of an error: MONAI and PyTorch wrap it, and say more below."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
