# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Synthetic abdominal scans with labels, for the demonstration, the documentation and the tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from monai_fss.data.files.atomic import atomic_path, write_json
from monai_fss.data.phantom.anatomy import PHANTOM_LABELS, Anatomy
from monai_fss.data.phantom.image import render


class Phantom(NamedTuple):
    """One synthetic scan.

    Args:
        image: int16 of shape (H, W, D): MR in arbitrary units of about 0 to 1000, CT in HU.
        label: uint8 of shape (H, W, D) with the values of :data:`PHANTOM_LABELS`, 0 elsewhere.
        affine: from voxel indices to the world of NIfTI (mm, +x to the patient's right), of shape (4, 4).
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray


def phantom(
    seed: int,
    *,
    modality: str = "MR",
    shape: Sequence[int] = (128, 128, 32),
    spacing: Sequence[float] = (2.5, 2.5, 7.7),
    oblique: float = 0.0,
    variation: float = 1.0,
    noise: float = 1.0,
) -> Phantom:
    """Make an abdominal scan with labels of the liver, both kidneys, the spleen and the aorta.

    The seed decides the subject, and nothing else does: both modalities, every grid and every angle show the same
    anatomy at the same place of the world. The same arguments give bitwise the same arrays.

    Args:
        seed: number of the subject, 0 or more.
        modality: ``"MR"`` (like T2-SPIR: fat dark, bias field, Rician noise) or ``"CT"`` (contrast-enhanced, HU).
        shape: (H, W, D). The default with the default spacing has the body fill 320 x 320 x 246 mm, as an abdominal
            scan does; a smaller field of view cuts organs off.
        spacing: voxel size in mm; the default has the thick slices of abdominal MR.
        oblique: rotation of the voxel grid about each of the three axes in degrees. The grid is stored left, anterior,
            superior (LAS), turned by this.
        variation: factor on the differences between subjects in size, place and shape; 0 gives everybody the same
            organs. The default makes a pasted support mask fail (see :func:`monai_fss.metrics.affine_moved_mask`).
        noise: factor on the scanner's noise.

    Returns:
        :class:`Phantom` of image, label and affine.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> scan = phantom(0)
        >>> scan.image.shape, scan.label.max()
        ((128, 128, 32), 5)
    """
    check_phantom(seed, modality, shape, spacing, variation, noise)
    affine = phantom_grid(seed, shape, spacing, oblique)
    centre = affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    points = np.tensordot(affine[:3, :3], np.indices(shape, np.float32), 1).reshape(3, -1) - centre[:, None]
    tissue, label = Anatomy(np.random.default_rng([seed, 0]), variation).paint(points)
    image = render(np.random.default_rng([seed, 1]), tissue.reshape(shape), spacing, modality, noise)
    return Phantom(image, label.reshape(shape), affine)


def write_phantom_dataset(
    folder: str | Path,
    *,
    n_cases: int = 8,
    n_folds: int = 2,
    seed: int = 0,
    modality: str = "MR",
    shape: Sequence[int] = (128, 128, 32),
    spacing: Sequence[float] = (2.5, 2.5, 7.7),
    oblique: float = 0.0,
    variation: float = 1.0,
    noise: float = 1.0,
) -> Path:
    """Write a data set of phantoms: ``images/<case>.nii.gz``, ``labels/<case>.nii.gz`` and ``dataset.json``.

    Args:
        folder: where to; must not exist or be empty.
        n_cases: number of scans.
        n_folds: number of folds, each of two cases or more (one to be the support, the others queries).
        seed: number of the first subject; the others follow it.
        modality: see :func:`phantom`, as for ``shape``, ``spacing``, ``oblique``, ``variation`` and ``noise``.

    Returns:
        the folder.

    Raises:
        FileExistsError: if the folder has something in it.
        ValueError: if there are too few cases for the folds, or an argument is out of range.
    """
    check_phantom(seed, modality, shape, spacing, variation, noise)
    scans = (
        phantom(
            seed + i,
            modality=modality,
            shape=shape,
            spacing=spacing,
            oblique=oblique,
            variation=variation,
            noise=noise,
        )
        for i in range(n_cases)
    )
    about = {
        "name": f"phantom_{modality.lower()}",
        "description": f"Synthetic abdominal {modality} scans (subjects {seed} to {seed + n_cases - 1})",
        "modality": modality,
        "labels": PHANTOM_LABELS,
    }
    return save_phantoms(folder, scans, n_cases, n_folds, about)


def save_phantoms(
    folder: str | Path, scans: Iterable[Phantom], n_cases: int, n_folds: int, about: Mapping[str, Any]
) -> Path:
    """Write scans as a data set folder.

    Args:
        folder: where to; must not exist or be empty.
        scans: as many as ``n_cases``, made one after the other.
        n_cases, n_folds: see :func:`write_phantom_dataset`.
        about: further entries of ``dataset.json``, before folds and cases.

    Returns:
        the folder.

    Raises:
        FileExistsError, ValueError: see :func:`write_phantom_dataset`.
    """
    folder = Path(folder)
    if n_folds < 1 or n_cases < 2 * n_folds:
        raise ValueError(f"n_cases={n_cases}, n_folds={n_folds}: each fold needs two cases. Ask for more cases.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists and is not an empty folder. Choose another folder or empty it.")
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    cases = [f"case_{i:02d}" for i in range(1, n_cases + 1)]
    for case, scan in zip(cases, scans, strict=True):
        _save(scan.image, scan.affine, folder / "images" / f"{case}.nii.gz")
        _save(scan.label, scan.affine, folder / "labels" / f"{case}.nii.gz")
    folds = [[str(case) for case in fold] for fold in np.array_split(cases, n_folds)]
    write_json(folder / "dataset.json", {**about, "folds": folds, "cases": cases})
    return folder


def check_phantom(
    seed: int, modality: str, shape: Sequence[int], spacing: Sequence[float], variation: float, noise: float
) -> None:
    """Refuse arguments that are out of range, see :func:`phantom`."""
    if seed < 0:
        raise ValueError(f"seed={seed}: negative. Give 0 or more.")
    if modality not in ("MR", "CT"):
        raise ValueError(f"modality={modality!r}: unknown. Give 'MR' or 'CT'.")
    if len(shape) != 3 or min(shape) < 4:
        raise ValueError(f"shape={tuple(shape)}: not a volume. Give three sizes of 4 voxels or more.")
    if len(spacing) != 3 or not min(spacing) > 0:
        raise ValueError(f"spacing={tuple(spacing)}: not a voxel size. Give three positive lengths in mm.")
    if not 0 <= variation <= 1.5:
        raise ValueError(f"variation={variation}: out of range. Give 0 to 1.5; beyond, organs leave the body.")
    if not noise >= 0:
        raise ValueError(f"noise={noise}: negative. Give 0 or more.")


def phantom_grid(seed: int, shape: Sequence[int], spacing: Sequence[float], oblique: float) -> np.ndarray:
    """Affine of a grid around the subject, whose middle lies where the table happened to stand."""
    middle = np.random.default_rng([seed, 2]).uniform((-20, -20, 50), (20, 20, 350))
    turn = Rotation.from_euler("xyz", [oblique] * 3, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag((-spacing[0], spacing[1], spacing[2]))
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _save(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with atomic_path(path) as unfinished:
        nib.save(image, unfinished)
