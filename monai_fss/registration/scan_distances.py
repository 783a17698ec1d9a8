# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How much scans differ, for choosing which of them to label: all in the frame of one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.registration.affine import affine
from monai_fss.registration.body import BODY
from monai_fss.registration.grid import Grid
from monai_fss.registration.matching import features
from monai_fss.registration.resample import resample

__all__ = ["body_volume", "median_body", "median_of", "pairwise_distances", "signature", "thumbnail"]

SPACING = 8.0  # mm, of signatures
STEPS = 48  # smaller fields of view are compared on a grid of so many steps along their longest edge


def thumbnail(image: MetaTensor) -> MetaTensor:
    """A copy that is fine enough to be registered affinely and to be compared, and small enough to keep many of them.

    Args:
        image: (1, H, W, D), intensities scaled to 0..1.

    Returns:
        The same field of view, axes in canonical order, voxels of 4 mm (less for a field of view below 384 mm).
    """
    grid = Grid.of(image)
    return resample(image, grid.working([_step(grid) / 2] * 3))


def body_volume(image: MetaTensor) -> float:
    """Volume in ml of what is brighter than air, intensities being 0..1."""
    return float((image > BODY).sum()) * abs(float(np.linalg.det(Grid.of(image).affine[:3, :3]))) / 1000


def median_body(images: Sequence[MetaTensor]) -> int:
    """Which scan has the median body volume; the smaller one of two, the first of equal ones.

    It is a frame for all others that crops none of them much and has no large part of its own.
    """
    return median_of([body_volume(image) for image in images])


def median_of(volumes: Sequence[float]) -> int:
    """Place of the median; the smaller one of two, the first of equal ones."""
    order = sorted(range(len(volumes)), key=lambda index: (volumes[index], index))
    return order[(len(order) - 1) // 2]


def signature(reference: MetaTensor, image: MetaTensor | None = None) -> torch.Tensor:
    """What a scan looks like in the frame of the reference.

    The scan is registered affinely, put on a grid of 8 mm (see :data:`STEPS`) over the reference's field of view, and
    described by its intensity and its MIND-SSC features, both 0 outside the body: where one scan shows a part of the
    body that the other one does not, they differ. (In one frame a distance costs no registration of its own: n scans
    need n - 1, not n (n - 1) / 2.)

    Args:
        reference: :func:`thumbnail` of the scan of the frame.
        image: thumbnail of another scan; None for the reference's own signature.

    Returns:
        (13, h, w, d): intensity, then 12 features.

    Raises:
        RegistrationError: where the scan cannot be registered.
    """
    frame = Grid.of(reference)
    grid = frame.working([_step(frame)] * 3)
    moved = resample(reference, grid) if image is None else resample(image, grid, affine(reference, image))
    volume = moved.as_tensor()
    body = volume > BODY
    return torch.cat([volume, features(volume[0], 1)[0]]) * body


def pairwise_distances(signatures: Sequence[torch.Tensor]) -> np.ndarray:
    """How much scans differ where at least half of them show the body.

    For the intensities it is 1 - normalised cross-correlation, for the features 1 - cosine similarity, each in units
    of its mean over all pairs; the distance is the mean of both, so that 1 is the difference of an average pair.
    (Without the normalisation a bland scan, whose signature is short, would be close to all others.) Both are squared
    distances of unit vectors, so the scan of the smallest mean distance to the others is the one closest to the
    average of the normalised signatures, see :func:`monai_fss.metrics.medoid`.

    Args:
        signatures: (13, h, w, d) each, of one frame.

    Returns:
        (n, n), symmetric, 0 on the diagonal.
    """
    common = torch.stack([one[0] > 0 for one in signatures]).double().mean(0) >= 0.5
    vectors = [one[:, common].double() for one in signatures]
    intensities = torch.stack([one[0] - one[0].mean() for one in vectors])
    parts = [_apart(intensities), _apart(torch.stack([one[1:].flatten() for one in vectors]))]
    pairs = max(len(signatures) * (len(signatures) - 1), 1)
    units = [part.sum() / pairs for part in parts]
    return sum((part / unit / 2 for part, unit in zip(parts, units, strict=True) if unit > 0), np.zeros_like(parts[0]))


def _apart(vectors: torch.Tensor) -> np.ndarray:
    """Half the squared distances of (n, length) vectors made unit ones; a zero vector stays what it is."""
    units = torch.nn.functional.normalize(vectors, eps=1e-6)
    products = (units @ units.T).numpy()
    squares = np.diagonal(products)
    # Rounding takes away what is left of equal scans by the order of sums.
    result = np.round((squares[:, None] + squares[None]) / 2 - products, 9)
    np.fill_diagonal(result, 0)
    return np.maximum((result + result.T) / 2, 0)


def _step(grid: Grid) -> float:
    """Spacing of signatures, mm."""
    return min(SPACING, float(grid.extent.max()) / STEPS)
