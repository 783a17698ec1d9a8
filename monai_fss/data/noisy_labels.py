# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels that a training corrects: the originals stay as they are, the corrected ones lie beside them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import convert_to_tensor

from monai_fss.data.atomic import atomic_path

__all__ = ["LoadNoisyLabel", "NoisyLabels"]


class NoisyLabels:
    """The present labels of a training set, by the name of the case.

    Args:
        originals: label (1, H, W, D) of each case, whole numbers; kept unchanged.
        folder: where corrected labels are written, ``<case>.nii.gz``; those that are there are taken up again, so that
            a training that is resumed goes on with them. Default: nothing is written.

    Raises:
        ValueError: a corrected label in the folder has another shape than its original.
    """

    def __init__(self, originals: Mapping[str, torch.Tensor], folder: str | Path | None = None) -> None:
        self.originals = dict(originals)
        self.folder = None if folder is None else Path(folder)
        self._present = {
            name: convert_to_tensor(label, dtype=torch.int16, track_meta=False).clone()
            for name, label in self.originals.items()
        }
        for name, label in self._present.items():
            file = self.path(name)
            if file is None or not file.is_file():
                continue
            found = torch.from_numpy(np.asarray(nib.Nifti1Image.from_filename(file).dataobj).astype(np.int16))[None]
            if found.shape != label.shape:
                raise ValueError(
                    f"{file}: has {tuple(found.shape[1:])} voxels, but the label of {name} {tuple(label.shape[1:])}. "
                    "Remove it, or give another folder."
                )
            self._present[name] = found

    def __getitem__(self, name: str) -> torch.Tensor:
        """The present label of a case, int16 (1, H, W, D); not to be written to."""
        return self._present[name]

    def path(self, name: str) -> Path | None:
        """Where the corrected label of a case is kept."""
        return None if self.folder is None else self.folder / f"{name}.nii.gz"

    def correct(self, name: str, voxels: torch.Tensor, values: torch.Tensor) -> int:
        """Give some voxels other values, and write the label.

        Args:
            name: case.
            voxels: bool (1, H, W, D).
            values: (1, H, W, D), of which those of ``voxels`` are taken.

        Returns:
            how many voxels have another value than before.
        """
        present = self._present[name]
        after = torch.where(voxels, values.to(present.dtype), present)
        changed = int((after != present).sum())
        self._present[name] = after
        file = self.path(name)
        if changed and file is not None:
            affine = getattr(self.originals[name], "affine", torch.eye(4))
            with atomic_path(file) as temporary:
                nib.Nifti1Image(after[0].numpy(), np.asarray(affine, dtype=float)).to_filename(temporary)
        return changed


class LoadNoisyLabel(Transform):
    """Put a case's present label into its item, before the random transforms of a training.

    Args:
        labels: the store.
        key: where the label goes. Default "label".
        name_key: where the case's name stands. Default "case".
    """

    def __init__(self, labels: NoisyLabels, key: str = "label", name_key: str = "case") -> None:
        self.labels = labels
        self.key = key
        self.name_key = name_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Add the label, with the affine of its original."""
        name = str(data[self.name_key])
        affine = getattr(self.labels.originals[name], "affine", None)
        return {**data, self.key: MetaTensor(self.labels[name], affine=affine)}
