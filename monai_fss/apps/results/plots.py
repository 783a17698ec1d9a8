# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monai_fss.data import atomic_path
from monai_fss.results.entries import Results
from monai_fss.results.spread import DEFAULT_SPREAD
from monai_fss.results.tables import summarize
from monai_fss.visualize import dice_bars, quality_scatter, risk_curves, threshold_curve, to_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["OFFSETS", "draw"]

OFFSETS = np.linspace(-6.0, 6.0, 49)  # to the learned threshold


def draw(
    results: Results, curves: Sequence[tuple[float, np.ndarray]], output: Path, spread: str = DEFAULT_SPREAD
) -> None:
    """Write the pictures.

    ``dice.png`` has the Dice of each organ and method, ``threshold.png`` is Fig. 7 of the ADNet paper, ``quality.png``
    and ``risk_coverage.png`` show the label-free quality where it was measured, of one method: several in one picture
    would hide each other.
    Without any score there is no picture.

    Args:
        results: the scores.
        curves: of each model, its learned threshold and the mean Dice at ``OFFSETS`` to it; none for a method without.
            They are drawn over the range of thresholds that all of them reach.
        output: folder.
        spread: what the deviations are over, see :data:`monai_fss.results.SPREADS`.
    """
    if not results.entries:
        return
    settings = results.settings
    title = f"{settings['bundle']} on {settings['dataset']}, {settings['protocol'].upper()}"
    _write(dice_bars(summarize(results, spread=spread), title), output / "dice.png")
    own = [entry for entry in results.entries if not math.isnan(entry.quality)]
    if len({entry.method for entry in own}) == 1:
        scores, dices = [entry.quality for entry in own], [entry.dice for entry in own]
        _write(quality_scatter(scores, dices, [entry.name for entry in own], title), output / "quality.png")
        if not all(map(math.isnan, dices)):
            ranked = {"quality": scores, "organ volume": [entry.volume_ml for entry in own]}
            _write(risk_curves(ranked, dices, title), output / "risk_coverage.png")
    learned = [threshold for threshold, _ in curves]
    if not curves or max(learned) - min(learned) >= OFFSETS[-1] - OFFSETS[0]:
        return
    common = np.linspace(max(learned) + OFFSETS[0], min(learned) + OFFSETS[-1], len(OFFSETS))
    dice = np.stack([np.interp(common, threshold + OFFSETS, scores) for threshold, scores in curves])
    _write(threshold_curve(common, dice, learned, title), output / "threshold.png")


def _write(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(to_png(figure))
