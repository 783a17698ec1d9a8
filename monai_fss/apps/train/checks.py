# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a training refuses before anything is written: numbers of steps that do not fit, bad scribbles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.data import check_propagation

__all__ = ["check_marks", "check_schedule", "check_stages"]


def check_marks(root: Path, cases: Sequence[str] | None, merged: Mapping[str, Any]) -> None:
    """Look at the scribbles before anything is removed or written; the bundle does so too."""
    keys = ("support", "scribbles", "background")
    support, scribbles, background = (merged.get(key) for key in keys)
    check_propagation(root, support or "", scribbles or "", background, cases, merged.get("labels"))


def check_stages(known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """:func:`check_schedule` for the stages before, such as PRNet's two networks."""
    merged = {**known, **settings}
    epoch = merged.get("pretrain_steps_per_epoch")
    if not isinstance(epoch, int) or epoch < 1:
        return
    for level in ("coarse", "fine"):
        steps = settings.get(f"{level}::steps", (merged.get(level) or {}).get("steps"))
        if not isinstance(steps, int) or steps < 1 or steps % epoch:
            raise UsageError(
                f"--set {level}::steps={steps}: is not a multiple of pretrain_steps_per_epoch={epoch}. Set both."
            )


def check_schedule(known: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a number of steps that is not whole epochs: the rest would be left out without a word.

    Args:
        known: the bundle's ``steps`` and ``steps_per_epoch``.
        settings: of the user, which go before.

    Raises:
        UsageError: with numbers that would do.
    """
    steps, epoch = ({**known, **settings}.get(key) for key in ("steps", "steps_per_epoch"))
    if not isinstance(steps, int) or not isinstance(epoch, int):
        return
    if epoch < 1 or steps < 1 or steps % epoch:
        raise UsageError(
            f"--set steps={steps}: is not a multiple of steps_per_epoch={epoch}. Set both, for example "
            f"steps={max(steps, 1)} steps_per_epoch={max(steps, 1)}."
        )
