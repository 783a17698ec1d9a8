# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of masks and plots of results, as matplotlib figures and PNG bytes; nothing here writes files."""

from __future__ import annotations

from .overlays import overlay, to_png
from .planes import LETTERS, PIXELS, Plane, organ_planes, outlines_svg, planes_picture
from .plots import dice_bars, threshold_curve
from .propagation_panels import propagation_panels
from .quality_plot import quality_scatter, risk_curves
from .relations import RelatedPanel, Shown, related_panels
from .slices import COLOURS, grey_window, label_styles

__all__ = [
    "COLOURS",
    "LETTERS",
    "PIXELS",
    "Plane",
    "RelatedPanel",
    "Shown",
    "dice_bars",
    "grey_window",
    "label_styles",
    "organ_planes",
    "outlines_svg",
    "overlay",
    "planes_picture",
    "propagation_panels",
    "quality_scatter",
    "related_panels",
    "risk_curves",
    "threshold_curve",
    "to_png",
]
