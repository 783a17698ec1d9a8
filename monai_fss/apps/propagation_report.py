# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is written beside pseudo-masks: how many points of each class were kept in which scan."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from monai_fss.data import InputWarning, case_name, write_text_atomic
from monai_fss.inferers import ScribblePropagation

__all__ = ["PROPAGATION_COLUMNS", "PropagationReport"]

PROPAGATION_COLUMNS = ("case", "label", "points", "kept", "similarity", "volume_ml")


class PropagationReport:
    """Handler of the propagating evaluator: a row of ``propagation.csv`` for each scan and class.

    Args:
        inferer: that propagates.
        output_dir: folder of the pseudo-masks.

    Warns:
        InputWarning: no point of a class was kept in a scan.
    """

    def __init__(self, inferer: ScribblePropagation, output_dir: str | Path) -> None:
        self.inferer = inferer
        self.output_dir = Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Report on the scans of this iteration."""
        outputs: Any = engine.state.output
        for output in outputs:
            self._report(case_name(output["image"].meta["filename_or_obj"]), output)

    def _report(self, case: str, output: Any) -> None:
        found = self.inferer.located[case]
        mask = np.asarray(output["pred"][0])
        ml = abs(float(np.linalg.det(np.asarray(output["pred"].affine)[:3, :3]))) / 1000
        file = self.output_dir / "propagation.csv"
        known = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))) if file.exists() else []
        rows = [row for row in known if row["case"] != case]
        for value in np.unique(found.values).tolist():
            similarity = found.similarity[found.values == value]
            kept = int((similarity > self.inferer.tau).sum()) if value != self.inferer.background else len(similarity)
            row = (case, value, len(similarity), kept, f"{similarity.mean():.4f}", f"{(mask == value).sum() * ml:.2f}")
            rows.append(dict(zip(PROPAGATION_COLUMNS, map(str, row), strict=True)))
        text = io.StringIO()
        writer = csv.DictWriter(text, PROPAGATION_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text_atomic(file, text.getvalue())
        if missing := self.inferer.missing[case]:
            names = ", ".join(map(str, missing))
            warnings.warn(
                f"{case}: no point of label {names} is more similar than tau={self.inferer.tau:g}; it has no "
                "pseudo-mask of it. Lower tau, or train PRNet longer.",
                InputWarning,
                stacklevel=2,
            )
