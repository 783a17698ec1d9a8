# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a scanner makes of the phantom's tissues: contrast, texture, bias field and noise.

Every labelled organ overlaps with something else in intensity and differs from it in texture: the liver is smooth but
for its vessels, the spleen granular, the kidneys have cortex and pyramids, bowel is patchy. The two kidneys look alike;
only their place tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_fss.data.phantom.anatomy import Tissue


@dataclass(frozen=True)
class Look:
    """How a tissue looks: mean intensity and the standard deviations of its fine and coarse texture.

    Fine texture has grains of about one voxel and a half in plane, coarse texture of about 12 mm.
    """

    mean: float
    fine: float = 0.0
    coarse: float = 0.0


MR: dict[Tissue, Look] = {
    Tissue.AIR: Look(0),
    Tissue.FAT: Look(90, 10, 12),
    Tissue.MUSCLE: Look(215, 45, 30),
    Tissue.LIVER: Look(330, 14, 8),
    Tissue.CORTEX: Look(710, 8, 6),
    Tissue.MEDULLA: Look(520, 8, 6),
    Tissue.SPLEEN: Look(460, 55, 0),
    Tissue.AORTA: Look(430, 8, 0),
    Tissue.VENA_CAVA: Look(260, 8, 0),
    Tissue.BONE: Look(190, 40, 20),
    Tissue.DISC: Look(300, 15, 30),
    Tissue.CANAL: Look(780, 30, 0),
    Tissue.STOMACH: Look(420, 40, 120),
    Tissue.GALLBLADDER: Look(850, 8, 0),
    Tissue.HEART: Look(290, 25, 60),
    Tissue.LUNG: Look(30, 15, 5),
    Tissue.BOWEL_DARK: Look(180, 30, 40),
    Tissue.BOWEL_MID: Look(340, 30, 80),
    Tissue.BOWEL_BRIGHT: Look(540, 30, 120),
    Tissue.BOWEL_FLUID: Look(640, 30, 120),
}
"""Like T2-SPIR: fat dark, fluid bright, in arbitrary units of about 0 to 1000."""

CT: dict[Tissue, Look] = {
    Tissue.AIR: Look(-1000),
    Tissue.FAT: Look(-100, 8, 6),
    Tissue.MUSCLE: Look(50, 14, 25),
    Tissue.LIVER: Look(110, 6, 4),
    Tissue.CORTEX: Look(200, 4, 3),
    Tissue.MEDULLA: Look(150, 4, 3),
    Tissue.SPLEEN: Look(125, 18, 0),
    Tissue.AORTA: Look(200, 5, 0),
    Tissue.VENA_CAVA: Look(140, 5, 0),
    Tissue.BONE: Look(400, 70, 50),
    Tissue.DISC: Look(90, 8, 8),
    Tissue.CANAL: Look(35, 5, 0),
    Tissue.STOMACH: Look(80, 15, 60),
    Tissue.GALLBLADDER: Look(10, 4, 0),
    Tissue.HEART: Look(150, 10, 25),
    Tissue.LUNG: Look(-850, 40, 20),
    Tissue.BOWEL_DARK: Look(20, 15, 40),
    Tissue.BOWEL_MID: Look(110, 12, 25),
    Tissue.BOWEL_BRIGHT: Look(190, 20, 50),
    Tissue.BOWEL_FLUID: Look(130, 15, 30),
}
"""Contrast-enhanced, portal phase, in HU."""


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float], grain: float) -> np.ndarray:
    """Draw smooth noise of mean 0 and standard deviation 1.

    Drawn on a grid of ``grain`` mm and interpolated linearly, which costs a fraction of filtering the full grid.

    Args:
        rng: where the random numbers come from.
        shape: (H, W, D).
        spacing: voxel size in mm.
        grain: distance between independent values in mm.

    Returns:
        float32 of shape (H, W, D).
    """
    coarse = [max(2, int(np.ceil(n * step / grain)) + 1) for n, step in zip(shape, spacing, strict=True)]
    noise = rng.normal(size=coarse).astype(np.float32)
    zoom = [n / c for n, c in zip(shape, coarse, strict=True)]
    smooth: np.ndarray = ndimage.zoom(noise, zoom, order=1)
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def render(
    rng: np.random.Generator, tissue: np.ndarray, spacing: Sequence[float], modality: str, noise: float = 1.0
) -> np.ndarray:
    """Make an image of a tissue map.

    Args:
        rng: where the scan's random numbers come from.
        tissue: values of :class:`Tissue`, of shape (H, W, D).
        spacing: voxel size in mm.
        modality: ``"MR"`` (scanner gain +-12 %, bias field about +-20 %, Rician noise) or ``"CT"`` (HU, Gaussian
            noise of 15 HU).
        noise: factor on the scanner's noise.

    Returns:
        int16 of shape (H, W, D).
    """
    looks = MR if modality == "MR" else CT
    table = np.asarray([(look.mean, look.fine, look.coarse) for look in (looks[kind] for kind in Tissue)], np.float32)
    means, fine, coarse = table.T
    spread = 0.05 * np.abs(means) if modality == "MR" else 5.0
    means = means + np.float32(spread) * rng.uniform(-1, 1, means.shape).astype(np.float32)
    fine_noise = ndimage.gaussian_filter(rng.standard_normal(tissue.shape, np.float32), (0.8, 0.8, 0))
    fine_noise /= fine_noise.std()
    coarse_noise = smooth_noise(rng, tissue.shape, spacing, 12.0)
    image: np.ndarray = means[tissue] + fine[tissue] * fine_noise + coarse[tissue] * coarse_noise
    image = _add_vessels(rng, image, tissue, spacing, 0.45 * means[Tissue.LIVER])
    image[...] = ndimage.gaussian_filter(image, (0.5, 0.5, 0))  # partial volume at the borders
    scan = _scan_mr(rng, image, spacing, noise) if modality == "MR" else _scan_ct(rng, image, noise)
    return np.rint(scan).astype(np.int16)


def _add_vessels(
    rng: np.random.Generator, image: np.ndarray, tissue: np.ndarray, spacing: Sequence[float], brighter: float
) -> np.ndarray:
    """Draw the liver's vessels: tubes about the lines on which two smooth functions are both zero."""
    first, second = (smooth_noise(rng, tissue.shape, spacing, 30.0) for _ in range(2))
    vessels = (first**2 + second**2 < 0.025) & (tissue == Tissue.LIVER)
    return image + np.float32(brighter) * vessels


def _scan_mr(rng: np.random.Generator, image: np.ndarray, spacing: Sequence[float], noise: float) -> np.ndarray:
    bias = np.exp(0.09 * smooth_noise(rng, image.shape, spacing, 160.0).clip(-2.5, 2.5))
    gain = np.float32(rng.uniform(0.88, 1.12))
    real, imaginary = (rng.standard_normal(image.shape, np.float32) * np.float32(14 * noise) for _ in range(2))
    return np.hypot(image * bias * gain + real, imaginary)


def _scan_ct(rng: np.random.Generator, image: np.ndarray, noise: float) -> np.ndarray:
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(15 * noise)
    return np.clip(image + grain, -1024, 3071)
