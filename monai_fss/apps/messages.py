# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Lines for the user, beside progress bars, and silence: of ``--quiet``, and of libraries."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

__all__ = ["close_bars", "quiet", "say", "without_libraries"]


def say(text: str) -> None:
    """Print to stderr, on lines of their own: a progress bar that stands there is drawn again below."""
    tqdm = sys.modules.get("tqdm.std")  # where it is not loaded there is no bar
    if tqdm is None:
        print(text, file=sys.stderr)
    else:
        tqdm.tqdm.write(text, file=sys.stderr)


def close_bars() -> None:
    """End the progress bars that an error has left in the middle of a line."""
    tqdm = sys.modules.get("tqdm.std")
    for bar in list(tqdm.tqdm._instances) if tqdm is not None else ():
        bar.close()


@contextmanager
def quiet(keep_output: bool) -> Iterator[None]:
    """
    Within it no progress bar is shown, here and in processes that are started, and stdout goes nowhere.

    Warnings and errors, on stderr, stay.

    Args:
        keep_output: leave stdout as it is, for commands whose output is what was asked for.
    """
    from tqdm.std import tqdm

    before, started = os.environ.get("TQDM_DISABLE"), tqdm.__init__

    def without_bar(self: Any, *args: Any, **more: Any) -> None:
        started(self, *args, **{**more, "disable": True})

    os.environ["TQDM_DISABLE"] = "1"
    tqdm.__init__ = without_bar
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            redirect_stdout(sys.stdout if keep_output else nowhere),
        ):
            yield
    finally:
        tqdm.__init__ = started
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before


@contextmanager
def without_libraries() -> Iterator[None]:
    """Without what libraries log, warn of and print of each of their steps."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
