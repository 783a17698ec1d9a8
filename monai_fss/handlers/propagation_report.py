# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is written beside pseudo-masks: how many points of each class were kept in which scan, and pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from monai_fss.data import InputWarning, atomic_path, case_name
from monai_fss.data.scan_table import ScanTable
from monai_fss.inferers import LocatedPoints, ScribblePropagation, found_in
from monai_fss.visualize import propagation_panels, to_png

__all__ = ["PROPAGATION_COLUMNS", "PropagationReport"]

PROPAGATION_COLUMNS = ("case", "label", "points", "kept", "similarity", "volume_ml")


class PropagationReport:
    """Handler of the propagating evaluator.

    ``propagation.csv`` gets a row for each scan and class, ``pictures/<case>.png`` shows the way from the scribbles to
    the pseudo-mask (the paper's Figs. 7 and 8).

    Args:
        inferer: that propagates.
        output_dir: folder of the pseudo-masks.
        support: scan with the scribbles, preprocessed, (C, H, W, D). Default: no pictures are drawn.
        names: label value to name, for the pictures. Default: ``label_<value>``.
        table: name of the table.

    Warns:
        InputWarning: no point of a class was kept in a scan.
    """

    def __init__(
        self,
        inferer: ScribblePropagation,
        output_dir: str | Path,
        support: MetaTensor | None = None,
        names: Mapping[int, str] | None = None,
        table: str = "propagation.csv",
    ) -> None:
        self.inferer = inferer
        self.output_dir = Path(output_dir)
        self.support = support
        self.names = dict(names or {})
        self.rows = ScanTable(self.output_dir / table, PROPAGATION_COLUMNS)

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Report on the scans of this iteration."""
        outputs: Any = engine.state.output
        for output in outputs:
            case = case_name(output["image"].meta["filename_or_obj"])
            if self.support is not None and case != self.inferer.name:
                self._draw(case, output, self.support)
            self._report(case, output)

    def _draw(self, case: str, output: Any, support: MetaTensor) -> None:
        points, found = self.inferer.support, _located(output)
        scribbles = np.zeros(support.shape[1:], np.int16)
        drawn = np.clip(np.rint(points.voxels).astype(int), 0, np.array(scribbles.shape) - 1)
        scribbles[tuple(drawn.T)] = points.values
        figure = propagation_panels(
            np.asarray(support[0]),
            scribbles,
            np.asarray(output["image"][0]),
            found.voxels,
            found.values,
            np.where(np.isin(found.values, self.inferer.always), 1.0, found.similarity),  # these are all kept
            np.asarray(output["pred"][0]).astype(np.int16),
            output["image"].pixdim.tolist(),
            {value: self.names.get(value, f"label_{value}") for value in self.inferer.values},
            case,
            tau=self.inferer.tau,
            background=self.inferer.background,
            around=1,
            support_spacing=support.pixdim.tolist(),
            axcodes=nib.orientations.aff2axcodes(np.asarray(output["image"].affine)),
            support_axcodes=nib.orientations.aff2axcodes(np.asarray(support.affine)),
        )
        with atomic_path(self.output_dir / "pictures" / f"{case}.png") as temporary:
            temporary.write_bytes(to_png(figure))

    def _report(self, case: str, output: Any) -> None:
        found = _located(output)
        mask = np.asarray(output["pred"][0])
        ml = abs(float(np.linalg.det(np.asarray(output["pred"].affine)[:3, :3]))) / 1000
        rows = []
        for value in np.unique(found.values).tolist():
            similarity = found.similarity[found.values == value]
            kept = len(similarity) if value in self.inferer.always else int((similarity > self.inferer.tau).sum())
            row = (case, value, len(similarity), kept, f"{similarity.mean():.4f}", f"{(mask == value).sum() * ml:.2f}")
            rows.append(dict(zip(PROPAGATION_COLUMNS, map(str, row), strict=True)))
        self.rows.append(case, rows)
        if missing := found_in(output["pred"])["missing"]:
            names = ", ".join(map(str, missing))
            warnings.warn(
                f"{case}: no point of label {names} is more similar than tau={self.inferer.tau:g}; it has no "
                "pseudo-mask of it. Lower tau, or train PRNet longer.",
                InputWarning,
                stacklevel=2,
            )


def _located(output: Any) -> LocatedPoints:
    return LocatedPoints.from_state(found_in(output["pred"])["located"])
