# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The result of an evaluation: its scores, its files and its tables."""

from __future__ import annotations

from .baselines import MASK_PASTE, UNTRAINED, is_baseline, untrained_name
from .entries import Entry, Results
from .files import RESULT_FILES, read_results, write_results
from .markdown import markdown_table
from .spread import DEFAULT_SPREAD, SPREADS
from .tables import format_results

__all__ = [
    "DEFAULT_SPREAD",
    "Entry",
    "MASK_PASTE",
    "RESULT_FILES",
    "Results",
    "SPREADS",
    "UNTRAINED",
    "format_results",
    "is_baseline",
    "markdown_table",
    "read_results",
    "untrained_name",
    "write_results",
]
