# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels that a training corrects: the originals stay as they are, the corrected ones are kept beside them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import convert_to_tensor

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.problems import ScanError

__all__ = ["LoadNoisyLabel", "NoisyLabels"]


class NoisyLabels:
    """The present labels of a training set, by the name of the case.

    Among what an Ignite ``Checkpoint`` saves, it lets a training that is resumed go on with the labels of then.

    Args:
        originals: label (1, H, W, D) of each case, whole numbers; kept unchanged.
        folder: where corrected labels are written, ``<case>.nii.gz``, to be looked at; what lies there is never read.
            Default: nothing is written.
    """

    def __init__(self, originals: Mapping[str, torch.Tensor], folder: str | Path | None = None) -> None:
        self.originals = dict(originals)
        self.folder = None if folder is None else Path(folder)
        self._present = {
            name: convert_to_tensor(label, dtype=torch.int16, track_meta=False).clone()
            for name, label in self.originals.items()
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The present label of each case, uint8 (1, H, W, D) where its values allow, else int16."""
        return {name: _small(label) for name, label in self._present.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up labels that :meth:`state_dict` gave, and write those that are not the originals.

        Raises:
            ScanError: they are of other cases, or a label has another shape than its original.
        """
        missing, unknown = sorted(self._present.keys() - state.keys()), sorted(state.keys() - self._present.keys())
        problems = []
        if missing or unknown:
            problems.append(
                f"labels of the checkpoint: are of other cases ({_list(missing)} missing, {_list(unknown)} unknown). "
                "Resume with the cases of that training, or start anew."
            )
        for name in sorted(self._present.keys() & state.keys()):
            own, other = tuple(self._present[name].shape[1:]), tuple(state[name].shape[1:])
            if own != other:
                problems.append(
                    f"labels of the checkpoint: that of {name} has {other} voxels, but the training's has {own}. "
                    "Resume with the data and the voxel size of that training, or start anew."
                )
        if problems:
            raise ScanError(problems)
        for name, label in state.items():
            self._present[name] = label.to("cpu", torch.int16, copy=True)
            file, original = self.path(name), convert_to_tensor(self.originals[name], track_meta=False)
            if file is not None and (file.exists() or not torch.equal(self._present[name], original.to(torch.int16))):
                self._write(name)

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
        if changed:
            self._write(name)
        return changed

    def _write(self, name: str) -> None:
        file = self.path(name)
        if file is None:
            return
        affine = getattr(self.originals[name], "affine", torch.eye(4))
        with atomic_path(file) as temporary:
            nib.Nifti1Image(self._present[name][0].numpy(), np.asarray(affine, dtype=float)).to_filename(temporary)


def _small(label: torch.Tensor) -> torch.Tensor:
    low, high = (int(limit) for limit in label.aminmax()) if label.numel() else (0, 0)
    return label.to(torch.uint8 if low >= 0 and high <= 255 else torch.int16, copy=True)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


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
