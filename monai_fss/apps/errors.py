# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Mistakes on a command line."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["UsageError"]


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
