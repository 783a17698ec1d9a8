# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
What label correction makes of wrong labels, and of right ones: ``python tests/benchmarks/label_correction.py``.

Phantoms whose labels are lowered to a Dice of about 0.80 by noise with a structure (a third of an organ missing, or a
leak into its neighbour, in turns) train the U-Net of ``bundles/prnet/configs/train.yaml`` with its own settings; then
the same phantoms with their true labels. Prints the mean Dice of the labels with the true ones before and after.
``--set key=value`` changes settings of the file, as for ``monai-fss train``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import LoadImage, ResampleToMatch
from scipy.ndimage import binary_dilation, gaussian_filter

from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.settings import parse_settings
from monai_fss.data import write_phantom_dataset
from monai_fss.engines.workflows import quiet_monai
from monai_fss.metrics import strict_dice

VALUES = (1, 2, 3, 4)
CONFIG = bundle_path("prnet") / "configs" / "train.yaml"


def noisy(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each organ in turns without the third beyond a plane, or with a blob of that size at its border."""
    wrong = label.copy()
    for index, value in enumerate(VALUES):
        organ = label == value
        points = np.argwhere(organ)
        along = points @ rng.normal(size=3)
        if (index + rng.integers(2)) % 2:
            wrong[tuple(points[along > np.quantile(along, 0.7)].T)] = 0
        else:
            wrong[_leak(organ, points[along.argmax()])] = value
    return wrong


def _leak(organ: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A smooth blob of about a third of the organ's size that touches it."""
    grown, wanted = np.zeros_like(organ), 0.35 * organ.sum()
    grown[tuple(start)] = True
    while (grown & ~organ).sum() < wanted:
        grown = binary_dilation(grown)
    return (gaussian_filter(grown.astype(float), 1) > 0.5) & ~organ


def dice(labels: dict[str, Any], truths: dict[str, Any]) -> float:
    """Mean over scans and organs, in %."""
    return 100 * float(np.mean([strict_dice(labels[c] == v, truths[c] == v) for c in truths for v in VALUES]))


def corrected(data: Path, labels: Path, output: Path, settings: dict[str, Any]) -> tuple[float, float]:
    """Train on the labels; the Dice of those before and after, on the training's grid."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(CONFIG))
    cases = sorted(file.name.removesuffix(".nii.gz") for file in labels.iterdir())
    images = {case: str(data / "images" / f"{case}.nii.gz") for case in cases}
    parser["items"] = [{"case": c, "image": images[c], "pseudo": str(labels / f"{c}.nii.gz")} for c in cases]
    own = {"dataset_dir": str(data), "output_dir": str(output), "values": list(VALUES), "tensorboard": False}
    own |= {"scribble_item": {"case": "", "simulated": False}, "propagation": "", "val_items": []}
    for key, value in {**own, **settings}.items():
        parser[key] = value
    parser.parse(True)
    trainer, present = parser.get_parsed_content("train::trainer"), parser.get_parsed_content("train::labels")
    parser.get_parsed_content("train::correction").attach(trainer)
    trainer.run()
    read, match = LoadImage(image_only=True, ensure_channel_first=True), ResampleToMatch(mode="nearest")
    truths = {
        case: np.asarray(match(read(data / "labels" / f"{case}.nii.gz"), label)[0])
        for case, label in present.originals.items()
    }
    before = {case: np.asarray(label[0]) for case, label in present.originals.items()}
    return dice(before, truths), dice({case: present[case][0].numpy() for case in cases}, truths)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    quiet_monai()
    settings = parse_settings(args.set, [CONFIG], {})
    with tempfile.TemporaryDirectory() as folder:
        data, rng = write_phantom_dataset(Path(folder) / "data", n_cases=args.cases), np.random.default_rng(0)
        wrong = Path(folder) / "noisy"
        wrong.mkdir()
        for file in sorted((data / "labels").iterdir()):
            label = nib.load(file)
            made = noisy(np.asarray(label.dataobj).astype(int), rng).astype(np.int16)
            nib.Nifti1Image(made, label.affine).to_filename(wrong / file.name)
        for name, labels in (("noisy", wrong), ("right", data / "labels")):
            before, after = corrected(data, labels, Path(folder) / name, settings)
            print(f"{name} labels: Dice {before:.1f}, corrected {after:.1f} ({after - before:+.2f})")


if __name__ == "__main__":
    main()
