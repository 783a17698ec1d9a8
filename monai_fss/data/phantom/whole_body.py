# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Synthetic whole-body MR with 18 labelled organs and bones, from lungs of litres to glands of a few millilitres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from monai_fss.data.phantom.anatomy import BOWEL, Tissue
from monai_fss.data.phantom.dataset import Phantom, check_phantom, phantom_grid, save_phantoms
from monai_fss.data.phantom.image import render
from monai_fss.data.phantom.shapes import Ellipsoid, Waves

__all__ = ["WHOLE_BODY_LABELS", "whole_body_phantom", "write_whole_body_dataset"]

WHOLE_BODY_LABELS: dict[str, int] = {
    name: value
    for value, name in enumerate(
        (
            "heart",
            "right_lung",
            "left_lung",
            "liver",
            "adrenal_gland",
            "gallbladder",
            "right_kidney",
            "left_kidney",
            "spleen",
            "pancreas",
            "bladder",
            "spine",
            "right_clavicle",
            "left_clavicle",
            "pelvis",
            "humerus",
            "rectum",
            "sacrum",
        ),
        start=1,
    )
}
"""The labelled organs and bones of :func:`whole_body_phantom` and their values: those of the two-stage paper."""

# name, tissue, and centre and semi-axes (mm) of each of its ellipsoids in the frame of :class:`_Body`; what comes later
# lies in front
_SHAPES: tuple[tuple[str, Tissue, tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]], ...] = (
    ("right_lung", Tissue.LUNG, (((82, 5, 205), (52, 74, 95)),)),
    ("left_lung", Tissue.LUNG, (((-82, 5, 205), (48, 74, 95)),)),
    ("heart", Tissue.HEART, (((-22, 32, 165), (46, 40, 44)),)),
    ("liver", Tissue.LIVER, (((76, 10, 95), (72, 72, 56)),)),
    ("spleen", Tissue.SPLEEN, (((-105, -25, 92), (28, 42, 45)),)),
    ("right_kidney", Tissue.CORTEX, (((62, -40, 28), (27, 27, 50)),)),
    ("left_kidney", Tissue.CORTEX, (((-62, -40, 36), (27, 27, 50)),)),
    ("pancreas", Tissue.BOWEL_MID, (((-18, 24, 56), (56, 14, 17)),)),
    ("gallbladder", Tissue.GALLBLADDER, (((58, 52, 48), (13, 13, 24)),)),
    ("adrenal_gland", Tissue.MEDULLA, (((46, -34, 90), (7, 7, 12)), ((-44, -34, 98), (7, 7, 12)))),
    ("bladder", Tissue.CANAL, (((0, 38, -125), (33, 29, 29)),)),
    ("rectum", Tissue.BOWEL_BRIGHT, (((0, -42, -135), (17, 17, 42)),)),
    ("pelvis", Tissue.BONE, (((88, -20, -80), (16, 46, 58)), ((-88, -20, -80), (16, 46, 58)))),
    ("sacrum", Tissue.BONE, (((0, -74, -92), (40, 15, 40)),)),
    ("right_clavicle", Tissue.BONE, (((78, 50, 282), (60, 9, 9)),)),
    ("left_clavicle", Tissue.BONE, (((-78, 50, 282), (60, 9, 9)),)),
    ("humerus", Tissue.BONE, (((190, 0, 150), (13, 13, 130)), ((-190, 0, 150), (13, 13, 130)))),
)
_RIM = 5.0
"""mm of fat around organs and bones."""


class _Body:
    """One random subject; the frame is that of :class:`monai_fss.data.phantom.anatomy.Anatomy`: mm, +x to the
    patient's right, +y to the front, +z to the head, from the middle of the abdomen."""

    def __init__(self, rng: np.random.Generator, variation: float) -> None:
        self.scale = 1 + variation * rng.uniform(-0.06, 0.06, 3)
        turn = Rotation.from_rotvec(variation * np.radians(rng.uniform(-3, 3, 3))).as_matrix()
        self.turn = (turn.T / self.scale[:, None]).astype(np.float32)
        self.warp = [Waves.draw(rng, 4.0 * variation, (150.0, 350.0)) for _ in range(3)]
        self.fat = 16 + variation * rng.uniform(-5, 5)
        self.phase = rng.uniform(0, 2 * np.pi)
        self.organs = [
            (WHOLE_BODY_LABELS[name], kind, shape, max(axes))
            for name, kind, parts in _SHAPES
            for shape, axes in self._parts(rng, parts, variation)
        ]
        self.bowel = []
        for _ in range(24):
            centre = rng.uniform((-90, 0, -95), (90, 70, 25)).tolist()
            width = rng.uniform(11, 18)
            axes = (width, width, width * rng.uniform(1.0, 2.4))
            kind = BOWEL[rng.integers(len(BOWEL))]
            self.bowel.append((kind, Ellipsoid.draw(rng, centre, axes, shift=(0, 0, 0), tilt=50.0), max(axes)))

    @staticmethod
    def _parts(
        rng: np.random.Generator, parts: Sequence[tuple[Sequence[float], Sequence[float]]], variation: float
    ) -> list[tuple[Ellipsoid, Sequence[float]]]:
        """The ellipsoids of an organ, each in a place of its own."""
        return [
            (
                Ellipsoid.draw(rng, centre, axes, variation=variation, shift=(6.0, 6.0, 10.0), tilt=8.0, bumps=0.04),
                axes,
            )
            for centre, axes in parts
        ]

    def paint(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tissues and labels, uint8 (N,), at points (3, N)."""
        points = self.turn @ points.astype(np.float32)
        points = points + np.stack([wave(points) for wave in self.warp])
        tissue, label = np.zeros(points.shape[1], np.uint8), np.zeros(points.shape[1], np.uint8)
        self._paint_outside(points, tissue)
        for kind, shape, reach in self.bowel:
            near, radius = _near(points, shape, reach)
            tissue[near[radius < 1]] = kind
        self._paint_spine(points, tissue, label)
        for value, kind, shape, reach in self.organs:
            near, radius = _near(points, shape, reach)
            rim = near[(radius < 1 + _RIM / reach) & (tissue[near] != Tissue.LUNG) & (label[near] == 0)]
            tissue[rim] = Tissue.FAT
            inside = near[radius < 1]
            tissue[inside], label[inside] = kind, value
        return tissue, label

    def _paint_outside(self, points: np.ndarray, tissue: np.ndarray) -> None:
        """Trunk, head, arms and legs: fat under the skin, muscle, and fat in the abdomen."""
        x, y, z = points
        side = np.abs(x)
        trunk = (z > -190) & (z < 300)
        for shrink, kind in ((0.0, Tissue.FAT), (self.fat, Tissue.MUSCLE)):
            parts = [
                trunk & ((side / (160 - shrink)) ** 2.4 + (np.abs(y) / (105 - shrink)) ** 2.4 < 1),
                (z > 280) & ((x / (80 - shrink / 2)) ** 2 + (y / (95 - shrink / 2)) ** 2 + ((z - 395) / 118) ** 2 < 1),
                (z > -150) & (z < 290) & (np.hypot(side - 190, y) < 40 - shrink / 2),
                (z <= -170) & (np.hypot(side - 82, y) < 76 - shrink + 0.06 * (z + 170)),
            ]
            tissue[np.logical_or.reduce(parts)] = kind
        cavity = (z > -170) & (z < 130) & ((side / 125) ** 2.4 + (np.abs(y - 6) / 78) ** 2.4 < 1)
        tissue[cavity] = Tissue.FAT

    def _paint_spine(self, points: np.ndarray, tissue: np.ndarray, label: np.ndarray) -> None:
        x, y, z = points
        long = (z > -60) & (z < 320)
        body = long & (np.hypot((x - 4 * np.sin(z / 90)) / 22, (y + 62) / 19) < 1)
        disc = np.cos(2 * np.pi * z / 36 + self.phase) > 0.8
        tissue[long & (np.hypot(x, y + 62) < 28)] = Tissue.FAT
        tissue[body], label[body] = Tissue.BONE, WHOLE_BODY_LABELS["spine"]
        tissue[body & disc] = Tissue.DISC
        tissue[long & (np.hypot(x / 9, (y + 88) / 7) < 1)] = Tissue.CANAL


def _near(points: np.ndarray, shape: Ellipsoid, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the points about an ellipsoid, and their relative radius."""
    far = 1.4 * reach + _RIM
    near = np.flatnonzero((np.abs(points - shape.centre[:, None]) < far).all(0))
    return near, shape.radius(np.ascontiguousarray(points[:, near]))


def whole_body_phantom(
    seed: int,
    *,
    shape: Sequence[int] = (112, 80, 256),
    spacing: Sequence[float] = (4.0, 4.0, 4.0),
    height: float = 40.0,
    variation: float = 1.0,
    noise: float = 1.0,
) -> Phantom:
    """Make a whole-body MR with labels of 18 organs and bones (:data:`WHOLE_BODY_LABELS`).

    The adrenal glands are the smallest, about 75 voxels of 4 mm together, 0.003 % of the default volume; clavicles,
    lungs and kidneys have a label for each side, pelvis, humerus and adrenal glands one for both. The same arguments
    give bitwise the same arrays.

    Args:
        seed: number of the subject, 0 or more.
        shape: (H, W, D). The default with the default spacing is that of the two-stage paper's scans: 448 x 320 x 1024
            mm, head to thigh.
        spacing: voxel size in mm.
        height: mm above the middle of the abdomen, of the middle of the grid. Default 40.
        variation: factor on the differences between subjects; 0 gives everybody the same organs.
        noise: factor on the scanner's noise.

    Returns:
        image, label and affine.

    Raises:
        ValueError: an argument is out of range.
    """
    check_phantom(seed, "MR", shape, spacing, variation, noise)
    affine = phantom_grid(seed, shape, spacing, 0.0)
    centre = affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    points = np.tensordot(affine[:3, :3], np.indices(shape, np.float32), 1).reshape(3, -1) - centre[:, None]
    points[2] += height
    tissue, label = _Body(np.random.default_rng([seed, 10]), variation).paint(points)
    image = render(np.random.default_rng([seed, 11]), tissue.reshape(shape), spacing, "MR", noise)
    return Phantom(image, label.reshape(shape), affine)


def write_whole_body_dataset(
    folder: str | Path,
    *,
    n_cases: int = 4,
    n_folds: int = 2,
    seed: int = 0,
    shape: Sequence[int] = (112, 80, 256),
    spacing: Sequence[float] = (4.0, 4.0, 4.0),
    height: float = 40.0,
    variation: float = 1.0,
    noise: float = 1.0,
) -> Path:
    """Write a data set of :func:`whole_body_phantom`, as :func:`monai_fss.data.write_phantom_dataset` does.

    Args:
        folder, n_cases, n_folds, seed: see there.
        shape, spacing, height, variation, noise: see :func:`whole_body_phantom`.

    Returns:
        the folder.

    Raises:
        FileExistsError: the folder has something in it.
        ValueError: there are too few cases for the folds, or an argument is out of range.
    """
    check_phantom(seed, "MR", shape, spacing, variation, noise)
    scans = (
        whole_body_phantom(seed + number, shape=shape, spacing=spacing, height=height, variation=variation, noise=noise)
        for number in range(n_cases)
    )
    about = {
        "name": "phantom_whole_body",
        "description": f"Synthetic whole-body MR scans (subjects {seed} to {seed + n_cases - 1})",
        "modality": "MR",
        "labels": WHOLE_BODY_LABELS,
    }
    return save_phantoms(folder, scans, n_cases, n_folds, about)
