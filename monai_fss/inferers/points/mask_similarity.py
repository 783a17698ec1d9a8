# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks that any method has made, compared with the labelled one by what PRNet sees at corresponding points."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt

from monai_fss.data import LoadScan, ScanError, support_items
from monai_fss.inferers.points.files import load_prnet, prnet_transforms
from monai_fss.inferers.points.localiser import PointLocaliser
from monai_fss.inferers.points.points import SupportPoints

__all__ = ["MaskSimilarity", "mask_landmarks"]

DEEP = 0.5  # of the depth of a slice's deepest voxel: a landmark lies inside, even in a bent organ


def mask_landmarks(mask: np.ndarray, count: int = 5, spacing: Sequence[float] = (1.0, 1.0)) -> np.ndarray:
    """Points inside a mask that correspond to those of another mask of the same organ.

    The mask's voxels, slice by slice, make ``count`` equal parts; a landmark lies in the slice of each part's middle
    voxel. There it is the voxel nearest to the middle of what the slice shows among those at least half as deep inside
    as the deepest one: the middle itself where that is convex, a place well inside where it is bent. Of an organ in
    several pieces they may lie in any.

    Args:
        mask: bool (H, W, D), slices last, its axes in the order and directions of the other mask's; voxels may be of
            another size.
        count: of the points. Default 5, the slices of an organ in which scribbles are simulated.
        spacing: voxel size (H, W), in mm; only the ratio counts.

    Returns:
        int (count, 3), voxels, from the first slices to the last; in a mask of few slices some are the same.

    Raises:
        ValueError: a count of less than 1, a mask of another shape or without a voxel.
    """
    inside = np.asarray(mask, dtype=bool)
    if count < 1 or inside.ndim != 3 or not inside.any():
        raise ValueError(
            f"count {count} must be at least 1, and the mask (H, W, D) with a voxel, got {inside.shape} with "
            f"{int(inside.sum())}."
        )
    until = inside.sum((0, 1)).cumsum()
    slices = np.searchsorted(until, (2 * np.arange(count) + 1) * until[-1] // (2 * count), side="right")
    return np.array([(*_middle(inside[:, :, k], spacing), k) for k in slices.tolist()])


def _middle(inside: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    marked = np.argwhere(inside)
    start, stop = marked.min(0), marked.max(0) + 1
    box = np.pad(inside[start[0] : stop[0], start[1] : stop[1]], 1)
    depth = distance_transform_edt(box, sampling=spacing)
    deep = np.argwhere(depth >= DEEP * depth.max()) + start - 1
    distances = np.linalg.norm((deep - marked.mean(0)) * np.asarray(spacing, dtype=float), axis=1)
    return deep[distances.argmin()]


class MaskSimilarity:
    """How alike a mask's insides are to those of the labelled one, by PRNet's features: a label-free quality.

    Of the points that it has propagated, PRNet keeps those whose surroundings look alike in both scans: cos(f2) cos(f4)
    of the features of the fine network, or of the only one (dual-level feature denoising, Lei et al., arXiv:2111.10773,
    section 3.3, Eq. 5). What propagated them does not matter, so any method's mask can be checked: the
    :func:`mask_landmarks` of the labelled mask and of the new one are compared. It says whether the mask lies on the
    organ, not how well it is cut out.

    The scans are read as PRNet was trained on them, whatever the method sees. Landmarks are those of the masks' own
    voxels, and are carried to the scans by the affines: no organ is too small.

    Args:
        file: of PRNet's networks, see :func:`load_prnet`.
        images, labels: labelled scan and its label, or lists of them in the same order; they are looked at once.
        device: of the network. Default: the processor.
        values: label values wanted. Default: all of the labels.
        count: landmarks of each mask, see :func:`mask_landmarks`. Default 5.

    Raises:
        ScanError: the file is none of PRNet's; other numbers of images and labels; no value in any of the labels.
    """

    def __init__(
        self,
        file: str | Path,
        images: str | Path | Sequence[str | Path],
        labels: str | Path | Sequence[str | Path],
        device: torch.device | str = "cpu",
        values: Collection[int] | None = None,
        count: int = 5,
    ) -> None:
        network, settings = load_prnet(file)
        seeing = network.coarse if network.fine is None else network.fine  # whose features are compared
        self.localiser = PointLocaliser(seeing.to(device), match_levels=())
        self.read = prnet_transforms(settings)
        self.values = values
        self.count = count
        seen = [self._support(item) for item in support_items(images, labels)]
        self.supports = [support for support in seen if support is not None]
        if not self.supports:
            raise ScanError(f"{labels}: has no label value to compare masks with. Label at least one organ in it.")

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Compare the masks of one scan with the labelled ones.

        Args:
            output: of the evaluator: ``image``, of which only the file's name counts, and the masks ``pred``
                (1, H, W, D), a MetaTensor on any grid.

        Returns:
            mean similarity of the landmarks of each label value, each of them within 0..1, over the labelled scans that
            show it; 0 where nothing was found.
        """
        image = self._image(output["image"].meta["filename_or_obj"])
        values = sorted({int(value) for support in self.supports for value in support.values})
        found = self._landmarks(output["pred"], values, image)
        rated = [self._rate(support, found, image) for support in self.supports]
        scores = {value: [own[value] for own in rated if value in own] for value in values}
        return {value: float(np.mean(of)) if of else 0.0 for value, of in scores.items()}

    def _rate(self, support: SupportPoints, found: Mapping[int, np.ndarray], image: MetaTensor) -> dict[int, float]:
        """Mean similarity of each value that the labelled scan and the query both show."""
        nowhere = np.zeros((self.count, 3))
        order = support.values[:: self.count].tolist()
        mm = np.concatenate([found.get(value, nowhere) for value in order]) * image.pixdim.numpy()
        similarity = self.localiser.compare(support, image, mm).clip(0, 1).reshape(-1, self.count).mean(1)
        return {value: float(own) for value, own in zip(order, similarity, strict=True) if value in found}

    def _support(self, item: Mapping[str, str]) -> SupportPoints | None:
        image = self._image(item["image"])
        label = LoadScan(as_label=True)(item["label"], item["image"])
        present = {int(value) for value in np.unique(np.asarray(label)) if value > 0}
        wanted = sorted(present if self.values is None else present & set(self.values))
        landmarks = self._landmarks(label, wanted, image)
        if not landmarks:
            return None
        voxels = np.concatenate(list(landmarks.values()))
        return self.localiser.support(image, voxels, np.repeat(list(landmarks), self.count).tolist())

    def _landmarks(self, masks: MetaTensor, values: Sequence[int], image: MetaTensor) -> dict[int, np.ndarray]:
        """Voxels (count, 3) of the image, not whole numbers, of each value that the masks show."""
        to_image = np.linalg.inv(np.asarray(image.affine, dtype=float)) @ np.asarray(masks.affine, dtype=float)
        turn = nib.orientations.io_orientation(to_image)  # axes in the image's order and directions
        label = nib.orientations.apply_orientation(np.asarray(masks[0]), turn)
        to_image = to_image @ nib.orientations.inv_ornt_aff(turn, masks.shape[1:])
        spacing = np.linalg.norm(to_image[:3, :2], axis=0) * image.pixdim.numpy()[:2]
        shown = [value for value in values if (label == value).any()]
        voxels = {value: mask_landmarks(label == value, self.count, spacing.tolist()) for value in shown}
        return {value: own @ to_image[:3, :3].T + to_image[:3, 3] for value, own in voxels.items()}

    def _image(self, file: str) -> MetaTensor:
        return self.read({"image": str(file)})["image"]
