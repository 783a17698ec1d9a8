# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One labelled scan in, masks of the others out, in Python: without training, each mask with its label-free quality.

    python examples/one_labelled_scan.py [OUTPUT]

It makes synthetic scans in OUTPUT/data (OUTPUT is "example" by default), takes the first with its label, writes
OUTPUT/masks/<case>.nii.gz of the others, and prints how much of each organ is right (Dice) beside what the quality says
without knowing it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from monai.data import DataLoader, Dataset, decollate_batch

from monai_fss.data import DatasetFolder, LoadScan, PrepareVolumes, query_items, support_items, write_phantom_dataset
from monai_fss.inferers import Atlas, AtlasInferer, AtlasReverseAccuracy, SaveMasks
from monai_fss.metrics import strict_dice


def main(output: Path) -> None:
    """Make scans in a folder that does not exist yet, segment them and print a table."""
    folder = write_phantom_dataset(output / "data", n_cases=3, n_folds=1, shape=(80, 80, 26), spacing=(4, 4, 9))
    images, labels = folder / "images", folder / "labels"

    # Scans are read, brought to axial slices, and scaled to 0..1; their voxels stay as they are.
    prepare = PrepareVolumes()
    labelled = support_items(images / "case_01.nii.gz", labels / "case_01.nii.gz")
    # Coarse and quick; without these three arguments the masks are finer, and take several times as long.
    quick = {"preset": "fast", "starts": 1}
    atlas = Atlas(map(prepare, labelled), spacing=(5, 5, 8), registration=quick, back=quick)
    inferer, quality = AtlasInferer(atlas), AtlasReverseAccuracy(atlas)
    write_masks = SaveMasks(output / "masks", atlas.values)

    names = DatasetFolder.read(folder).labels  # organ: label value
    cases = ["case_02", "case_03"]
    queries = Dataset(query_items([images / f"{case}.nii.gz" for case in cases]), prepare)
    print(f"{'case':10} {'organ':14} {'Dice':>6} {'quality':>8}")
    for case, batch in zip(cases, DataLoader(queries, batch_size=1), strict=True):
        batch["pred"] = inferer(batch["image"])  # logits (1, 1 + organs, *grid that the atlas works on)
        (item,) = (write_masks(scan) for scan in decollate_batch(batch))
        scores = quality(item)
        mask, truth = np.asarray(item["pred"][0]), np.asarray(LoadScan()(labels / f"{case}.nii.gz")[0])
        for name, value in names.items():
            print(f"{case:10} {name:14} {strict_dice(mask == value, truth == value):6.2f} {scores[value]:8.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example"))
