# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
PRNet's network where crops are placed manually, the paper's "manual localization": ``monai-fss evaluate`` with the
true label's box instead of the propagated points.

``python tests/benchmarks/prnet_manual.py --bundle prnet --data DATA --split FILE --labels 1,3,4 --model model.pt
--output OUT``: the options are those of ``monai-fss evaluate``. What it finds is cropped by the same margin.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import LoadImage, ResampleToMatch

from monai_fss.__main__ import main
from monai_fss.data import DatasetFolder, case_name
from monai_fss.inferers import LocatedInferer, LocatedPoints


def by_hand(data: Path) -> Any:
    """What takes the place of locating the points: every voxel of the organs that the network knows, all alike."""
    labels = {name: case.label for name, case in DatasetFolder.read(data).cases.items()}
    read, match = LoadImage(image_only=True, ensure_channel_first=True), ResampleToMatch(mode="nearest")

    def locate(self: LocatedInferer, image: MetaTensor, net: Any) -> LocatedPoints:
        self.grown = 0.0  # from the true mask it would be true
        label = read(str(labels[case_name(image.meta["filename_or_obj"])]))
        mask = np.asarray(match(label, image)[0]).astype(int)
        known = [int(v) for v in np.unique(net.points()["values"].cpu()) if v not in self.without]
        voxels = np.argwhere(np.isin(mask, known))
        return LocatedPoints(voxels, voxels * image.pixdim.numpy(), mask[tuple(voxels.T)], np.ones(len(voxels)))

    return locate


if __name__ == "__main__":
    LocatedInferer._locate = by_hand(Path(sys.argv[sys.argv.index("--data") + 1]))  # type: ignore[method-assign]
    sys.exit(main(["evaluate", *sys.argv[1:]]))
