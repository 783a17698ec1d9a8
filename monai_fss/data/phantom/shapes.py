# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The two building stones of the phantom's anatomy: smooth random waves and bumpy ellipsoids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Waves:
    """A smooth random function of the place in the body: a sum of cosines with random directions and phases.

    A function of millimetres and not of voxels, so that every grid samples the same anatomy.

    Args:
        vectors: wave vectors in rad / mm, of shape (K, 3).
        phases: phases in rad, of shape (K,).
        amplitude: root mean square of the function.
    """

    vectors: np.ndarray
    phases: np.ndarray
    amplitude: float

    @classmethod
    def draw(cls, rng: np.random.Generator, amplitude: float, wavelengths: tuple[float, float], n: int = 5) -> Waves:
        """Draw ``n`` waves whose lengths lie in ``wavelengths`` (mm)."""
        directions = rng.normal(size=(n, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        vectors = directions * (2 * np.pi / rng.uniform(*wavelengths, size=(n, 1)))
        return cls(vectors.astype(np.float32), rng.uniform(0, 2 * np.pi, size=n).astype(np.float32), amplitude)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values at ``points`` (3, N) in mm, of shape (N,)."""
        scale = self.amplitude * np.sqrt(2 / len(self.phases))
        total = np.zeros(points.shape[1], np.float32)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(vector @ points + phase)
        return total * np.float32(scale)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with a place, a rotation and a bumpy surface.

    Args:
        centre: centre in mm, of shape (3,).
        to_unit: matrix (3, 3) that takes an offset from the centre in mm to the unit ball.
        bumps: what is added to the relative radius, or None for a smooth surface.
    """

    centre: np.ndarray
    to_unit: np.ndarray
    bumps: Waves | None = None

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        centre: Sequence[float],
        semi_axes: Sequence[float],
        *,
        variation: float = 1.0,
        shift: Sequence[float] = (13.0, 13.0, 20.0),
        tilt: float = 15.0,
        bumps: float = 0.06,
    ) -> Ellipsoid:
        """Draw one subject's version of an organ.

        Args:
            rng: where the random numbers come from.
            centre: the average subject's centre in mm.
            semi_axes: the average subject's semi-axes in mm.
            variation: factor on all differences between subjects.
            shift: largest shift along each axis in mm; more along the body's axis, because organs move with the breath.
            tilt: standard deviation of the rotation about each axis in degrees.
            bumps: root mean square of the relative radius' unevenness.
        """
        place = np.asarray(centre) + variation * np.asarray(shift) * rng.uniform(-1, 1, 3)
        overall, each = rng.uniform(-0.12, 0.12), rng.uniform(-0.06, 0.06, 3)
        axes = np.asarray(semi_axes) * (1 + variation * (overall + each))
        rotation = Rotation.from_rotvec(variation * np.radians(tilt) * rng.normal(size=3).clip(-1.5, 1.5)).as_matrix()
        waves = Waves.draw(rng, variation * bumps, (60.0, 120.0))
        return cls(place.astype(np.float32), (rotation / axes).T.astype(np.float32), waves)

    def radius(self, points: np.ndarray) -> np.ndarray:
        """Relative radius of ``points`` (3, N) in mm, of shape (N,): below 1 is inside."""
        unit = self.to_unit @ points - (self.to_unit @ self.centre)[:, None]
        radius = np.sqrt(np.einsum("ij,ij->j", unit, unit))
        if self.bumps is not None:
            # Far from the surface the bumps decide nothing, and their cosines are the phantom's whole cost.
            near = np.flatnonzero(radius < 1.6)
            radius[near] += self.bumps(points[:, near])
        return radius
