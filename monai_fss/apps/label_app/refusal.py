# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What went wrong, as a client is told: a status of HTTP and a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from monai_fss.apps.errors import UsageError
from monai_fss.data import ScanError
from monai_fss.engines.scan_by_scan import reason_of

__all__ = ["REFUSED", "status_and_sentence"]

REFUSED, FAILED = 400, 500


def status_and_sentence(error: Exception) -> tuple[int, str]:
    """
    How a request is answered that ended with an error.

    Args:
        error: what was raised; MONAI wraps what went wrong within a configuration.

    Returns:
        400 with the problems, a line each, where the input was refused: by the package, or by MONAI Label, whose
        exceptions have ``msg``; 500 with the error's kind and first line where something failed.
    """
    for cause in _causes(error):
        if isinstance(cause, (ScanError, UsageError)):
            return REFUSED, "\n".join(cause.problems)
        if isinstance(message := getattr(cause, "msg", None), str) and hasattr(cause, "error"):
            return REFUSED, message
    return FAILED, f"{reason_of(error)} (the server's log says where)"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
