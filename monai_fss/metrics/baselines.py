# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What needs no learning: the floor that a few-shot method has to beat on a data set."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def best_threshold_interval(image: np.ndarray, label: np.ndarray, n_bins: int = 256) -> tuple[float, float]:
    """Find the intensity interval that agrees best with a mask.

    Args:
        image: volume of shape (H, W, D), any real type.
        label: binary mask of the same shape.
        n_bins: number of equal bins between the mask's lowest and highest intensity; every interval of whole bins is
            tried. 256 resolves an organ far finer than its own spread.

    Returns:
        lowest and highest intensity (both inside) of the interval with the highest Dice.

    Raises:
        ValueError: if the shapes differ or the mask is empty.
    """
    mask = _mask(image, label)
    low, high = float(image[mask].min()), float(image[mask].max())
    if low == high:
        return low, high
    edges = np.linspace(low, high, n_bins + 1)
    inside = np.histogram(image[mask], edges)[0]
    everywhere = np.histogram(image, edges)[0]
    # Row a, column b: the interval from edge a to edge b. Sums over bins are differences of cumulative sums.
    hits, claimed = (np.concatenate([[0], np.cumsum(counts)]) for counts in (inside, everywhere))
    dice = 2 * (hits[None] - hits[:, None]) / np.maximum(mask.sum() + claimed[None] - claimed[:, None], 1)
    start, stop = np.unravel_index(int(np.argmax(np.triu(dice, 1))), dice.shape)
    # All bins but the last are half open.
    return float(edges[start]), float(edges[stop] if stop == n_bins else np.nextafter(edges[stop], low))


def best_threshold_mask(support_image: np.ndarray, support_label: np.ndarray, query_image: np.ndarray) -> np.ndarray:
    """Segment the query by the intensity interval that is best on the support.

    Args:
        support_image: volume of shape (H, W, D).
        support_label: binary mask of the organ, of the same shape.
        query_image: volume of any shape, in the same intensity unit.

    Returns:
        boolean mask of the query's shape.

    Raises:
        ValueError: if the support's shapes differ or its mask is empty.

    Example:
        >>> image = np.asarray([[[0, 5, 6, 9]]])
        >>> best_threshold_mask(image, (image > 4) & (image < 8), image).astype(int)
        array([[[0, 1, 1, 0]]])
    """
    low, high = best_threshold_interval(support_image, support_label)
    return (query_image >= low) & (query_image <= high)


def body_mask(image: np.ndarray) -> np.ndarray:
    """Find the body: Otsu's threshold of the logarithm, largest component, holes of each slice filled.

    The logarithm keeps fat that MR has suppressed, and CT's lungs' surroundings, on the body's side of the threshold.

    Args:
        image: volume of shape (H, W, D).

    Returns:
        boolean mask of shape (H, W, D), never empty.

    Raises:
        ValueError: if the image is constant.
    """
    values = np.log1p(image.astype(np.float32) - np.float32(image.min()))
    if not values.max() > 0:
        raise ValueError(f"image: all voxels are {image.flat[0]}, there is no body. Give another image.")
    components, n = ndimage.label(values > _otsu(values))
    mask = components == 1 + np.argmax(np.bincount(components.ravel(), minlength=n + 1)[1:])
    return ndimage.binary_fill_holes(mask, ndimage.generate_binary_structure(2, 1)[..., None])


def affine_moved_mask(support_image: np.ndarray, support_label: np.ndarray, query_image: np.ndarray) -> np.ndarray:
    """Paste the support's mask into the query, scaled and shifted so that the bodies' bounding boxes agree.

    Both volumes must be stored in the same orientation; their spacings may differ.

    Args:
        support_image: volume of shape (H, W, D).
        support_label: binary mask of the organ, of the same shape.
        query_image: volume of shape (H', W', D').

    Returns:
        boolean mask of shape (H', W', D').

    Raises:
        ValueError: if the support's shapes differ, its mask is empty or an image is constant.
    """
    mask = _mask(support_image, support_label)
    (support_low, support_size), (query_low, query_size) = (_box(body_mask(i)) for i in (support_image, query_image))
    scale = support_size / query_size
    # Boxes are of voxels, not of their centres: index + 0.5 is what scales.
    offset = support_low + scale * (0.5 - query_low) - 0.5
    moved = ndimage.affine_transform(mask.astype(np.uint8), scale, offset, query_image.shape, order=0)
    return moved > 0


def _mask(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    if image.shape != label.shape:
        raise ValueError(f"support: image {image.shape} and label {label.shape} differ in shape. Give a pair.")
    mask = np.asarray(label) > 0
    if not mask.any():
        raise ValueError("support: the label has no voxel. Give a labelled support.")
    return mask


def _otsu(values: np.ndarray, n_bins: int = 256) -> float:
    """Otsu's threshold (1979): the one with the largest variance between the two classes."""
    counts, edges = np.histogram(values, n_bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    moment = np.cumsum(counts * centres)
    between = (moment[-1] * below / total - moment[:-1]) ** 2 / np.maximum(below * (total - below), 1)
    return float(edges[1 + np.argmax(between)])


def _box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest index and size of the mask's bounding box."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return np.asarray([s.start for s in found]), np.asarray([s.stop - s.start for s in found])
