# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The phantom's anatomy: which tissue and which label lies at a place in the body, for one random subject."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from scipy.spatial.transform import Rotation

from monai_fss.data.phantom.shapes import Ellipsoid, Waves

PHANTOM_LABELS: dict[str, int] = {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4, "aorta": 5}
"""The phantom's labelled organs and their values."""


class Tissue(IntEnum):
    """What the phantom's body is made of."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    LIVER = 3
    CORTEX = 4
    MEDULLA = 5
    SPLEEN = 6
    AORTA = 7
    VENA_CAVA = 8
    BONE = 9
    DISC = 10
    CANAL = 11
    STOMACH = 12
    GALLBLADDER = 13
    HEART = 14
    LUNG = 15
    BOWEL_DARK = 16
    BOWEL_MID = 17
    BOWEL_BRIGHT = 18
    BOWEL_FLUID = 19


BOWEL = (Tissue.BOWEL_DARK, Tissue.BOWEL_MID, Tissue.BOWEL_BRIGHT, Tissue.BOWEL_FLUID)


class Anatomy:
    """One random subject.

    The body frame is in mm, +x to the patient's right, +y to the front, +z to the head (the world of NIfTI); its
    origin is the middle of the abdomen. Subjects differ in the body's size, place and rotation, in the thickness of
    their fat, by a smooth deformation (root mean square 6 mm along each axis), and in every organ's own place,
    size, rotation and shape.

    Args:
        rng: where the subject's random numbers come from.
        variation: factor on all differences between subjects: 0 gives everybody the same organs.
    """

    def __init__(self, rng: np.random.Generator, variation: float = 1.0) -> None:
        self._rng, self._variation = rng, variation
        scale = 1 + variation * (rng.uniform(-0.08, 0.08) + rng.uniform(-0.03, 0.03, 3))
        turn = Rotation.from_rotvec(variation * np.radians(rng.uniform(-4, 4, 3))).as_matrix()
        self._shift = variation * rng.uniform(-8, 8, 3) * (1, 1, 1.5)
        self._from_body = (turn.T / scale[:, None]).astype(np.float32)
        self._warp = [Waves.draw(rng, 6.0 * variation, (120.0, 300.0)) for _ in range(3)]
        self._fat = 14 + variation * rng.uniform(-6, 6)
        self._spine_phase = variation * rng.uniform(0, 2 * np.pi)
        self._bend = variation * rng.uniform(-1, 1, 4)
        self._draw_organs()
        self._draw_clutter()

    def paint(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say what lies at each point.

        Args:
            points: places relative to the average subject's middle, in mm, of shape (3, N).

        Returns:
            tissues (values of :class:`Tissue`) and labels (values of :data:`PHANTOM_LABELS`, 0 elsewhere), both
            uint8 of shape (N,).
        """
        points = self._from_body @ (points - self._shift[:, None]).astype(np.float32)
        points = points + np.stack([wave(points) for wave in self._warp])
        tissue = np.zeros(points.shape[1], np.uint8)
        label = np.zeros_like(tissue)
        self._paint_body(points, tissue)
        # Outside of the abdominal cavity there is no organ, so the rest is asked of half of the points only.
        cavity = np.flatnonzero(self._cavity(points) < 1)
        inner = np.ascontiguousarray(points[:, cavity])
        tissue[cavity], label[cavity] = self._paint_cavity(inner)
        self._paint_spine(points, tissue, label)
        return tissue, label

    def _ellipsoid(self, centre: tuple[float, ...], axes: tuple[float, ...], **kwargs: float) -> Ellipsoid:
        return Ellipsoid.draw(self._rng, centre, axes, variation=self._variation, **kwargs)  # type: ignore[arg-type]

    def _draw_organs(self) -> None:
        self._right_lobe = self._ellipsoid((70, 6, 44), (66, 74, 74), bumps=0.05)
        self._left_lobe = self._ellipsoid((14, 44, 60), (74, 34, 38), bumps=0.08)
        self._spleen = self._ellipsoid((-93, -18, 56), (28, 43, 46))
        self._kidneys = {
            "right_kidney": self._ellipsoid((64, -34, -30), (30, 30, 54)),
            "left_kidney": self._ellipsoid((-62, -34, -20), (30, 30, 54)),
        }
        self._pyramids = Waves.draw(self._rng, 1.0, (18.0, 30.0), n=8)

    def _draw_clutter(self) -> None:
        self._stomach = self._ellipsoid((-48, 40, 56), (42, 34, 46), bumps=0.1)
        self._gallbladder = self._ellipsoid((56, 44, -8), (15, 15, 26))
        self._heart = self._ellipsoid((-20, 30, 128), (50, 42, 32))
        rng = self._rng
        self._bowel: list[tuple[Tissue, Ellipsoid]] = []
        for _ in range(28):
            centre = rng.uniform((-95, -12, -130), (95, 76, 22)).tolist()
            width = rng.uniform(11, 19)
            axes = (width, width, width * rng.uniform(1.0, 2.6))
            loop = Ellipsoid.draw(rng, centre, axes, shift=(0, 0, 0), tilt=50.0, bumps=0.12)
            self._bowel.append((BOWEL[rng.integers(len(BOWEL))], loop))

    def _cavity(self, points: np.ndarray) -> np.ndarray:
        x, y, _ = points
        half = (140 - self._fat, 95 - self._fat)
        return (np.abs(x / half[0]) ** 2.4 + np.abs((y - 8) / half[1]) ** 2.4).astype(np.float32)

    def _paint_body(self, points: np.ndarray, tissue: np.ndarray) -> None:
        x, y, z = points
        taper = 1 - 0.05 * ((z - 10) / 120) ** 2
        skin = (np.abs(x / (150 * taper)) ** 2.4 + np.abs(y / (108 * taper)) ** 2.4) < 1
        wall = (np.abs(x / (152 - self._fat)) ** 2.4 + np.abs((y + 1) / (106 - self._fat)) ** 2.4) < 1
        tissue[skin] = Tissue.FAT
        tissue[skin & wall] = Tissue.MUSCLE

    def _paint_cavity(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tissue = np.full(points.shape[1], Tissue.FAT, np.uint8)
        label = np.zeros_like(tissue)
        x, y, z = points
        dome = 100 - 0.006 * ((np.abs(x) - 45) ** 2 + (y - 10) ** 2) + 6 * self._bend[0]
        tissue[z > dome] = Tissue.LUNG
        psoas = np.hypot(np.abs(x) - 36 + 0.12 * z, y + 46) < np.clip(17 - 0.12 * z, 0, 24)
        tissue[psoas] = Tissue.MUSCLE
        for kind, shape in [(Tissue.HEART, self._heart), *self._bowel, (Tissue.STOMACH, self._stomach)]:
            tissue[shape.radius(points) < 1] = kind
        self._paint_organs(points, tissue, label)
        return tissue, label

    def _paint_organs(self, points: np.ndarray, tissue: np.ndarray, label: np.ndarray) -> None:
        right, left = self._right_lobe.radius(points), self._left_lobe.radius(points)
        # A soft minimum joins the lobes without a crease.
        liver = -np.logaddexp(-right * 12, -left * 12) / 12
        # The liver's lower face leans on the right kidney instead of growing around it.
        front, top = self._kidneys["right_kidney"].centre[1:] + (18, 35)
        liver = np.maximum(liver, 1 + (front - points[1] + top - points[2]) / 100)
        self._fill(tissue, label, liver, Tissue.LIVER, "liver", rim=0.03)
        tissue[(self._gallbladder.radius(points) < 1)] = Tissue.GALLBLADDER
        label[tissue == Tissue.GALLBLADDER] = 0
        self._fill(tissue, label, self._spleen.radius(points), Tissue.SPLEEN, "spleen", rim=0.08)
        pyramids = self._pyramids(points) > 0
        for name, shape in self._kidneys.items():
            radius = shape.radius(points)
            self._fill(tissue, label, radius, Tissue.CORTEX, name, rim=0.14)
            tissue[(radius < 0.78) & pyramids] = Tissue.MEDULLA

    @staticmethod
    def _fill(tissue: np.ndarray, label: np.ndarray, radius: np.ndarray, kind: Tissue, name: str, rim: float) -> None:
        capsule = (radius < 1 + rim) & (tissue != Tissue.LUNG)
        tissue[capsule], label[capsule] = Tissue.FAT, 0
        tissue[radius < 1], label[radius < 1] = kind, PHANTOM_LABELS[name]

    def _paint_spine(self, points: np.ndarray, tissue: np.ndarray, label: np.ndarray) -> None:
        x, y, z = points
        body = np.hypot(x / 25, (y + 56) / 21)
        disc = np.cos(2 * np.pi * z / 38 + self._spine_phase) > 0.8
        arch = (np.hypot(x, y + 84) < 17) | ((np.abs(x) < 5) & (y < -84) & (y > -100) & ~disc)
        vessels = {
            Tissue.AORTA: (-9 + 9 * self._bend[1] + 5 * np.sin(z / 55 + 3 * self._bend[2]), -20 - 0.02 * z, 13.5),
            Tissue.VENA_CAVA: (19 + 7 * self._bend[3] - 0.04 * z, -18 + 0.06 * z, 11.0),
        }
        for mask, kind in [
            (body < 1, Tissue.BONE),
            ((body < 1) & disc, Tissue.DISC),
            (arch, Tissue.BONE),
            (np.hypot(x / 10, (y + 84) / 8) < 1, Tissue.CANAL),
            *[(np.hypot(x - cx, y - cy) < r, kind) for kind, (cx, cy, r) in reversed(vessels.items())],
        ]:
            tissue[mask], label[mask] = kind, PHANTOM_LABELS["aorta"] if kind == Tissue.AORTA else 0
