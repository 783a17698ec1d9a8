# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How much scans differ in one frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.metrics import medoid
from monai_fss.registration import scan_distances as suggestion
from monai_fss.registration.body import RegistrationError
from monai_fss.registration.grid import Grid
from monai_fss.registration.scan_distances import body_volume, median_body, pairwise_distances, signature, thumbnail


def scan(radius: float = 90, organ: float = 30, origin: float = 0, size: int = 24) -> MetaTensor:
    """A ball of ``radius`` mm with a bright ball ``organ`` mm beside its middle, in 240 mm of air."""
    step = 240 / size
    x, y, z = np.meshgrid(*[(np.arange(size) - (size - 1) / 2) * step] * 3, indexing="ij")
    image = 0.4 * (x**2 + y**2 + (z * 0.8) ** 2 < radius**2)
    image[(x - organ) ** 2 + (y - 20) ** 2 + z**2 < 30**2] = 0.9
    affine = np.diag([step, step, step, 1])
    affine[:3, 3] = origin
    return MetaTensor(image[None].astype(np.float32), affine=affine)


def test_thumbnails_cover_the_same_box() -> None:
    small = thumbnail(scan())
    # 240 mm make steps of 5 mm in signatures, and half of that here
    np.testing.assert_allclose(Grid.of(small).spacing, 2.5)
    np.testing.assert_allclose(Grid.of(small).centre, Grid.of(scan()).centre)
    large = MetaTensor(torch.zeros(1, 50, 50, 30), affine=np.diag([10.0, 10, 10, 1]))
    np.testing.assert_allclose(Grid.of(thumbnail(large)).spacing, 4)


def test_median_body() -> None:
    cube = MetaTensor(torch.zeros(1, 8, 8, 8), affine=np.diag([10.0, 5, 20, 1]))
    cube[0, 2:4, 2:4, 2:4] = 0.5
    assert body_volume(cube) == pytest.approx(8)
    images = [scan(radius) for radius in (60, 100, 90, 80, 50)]
    assert median_body(images) == 3
    assert median_body(images[:4]) == 3
    assert median_body([images[0]] * 3) == 1


def test_distances_are_in_units_of_the_average_pair() -> None:
    pattern = torch.tensor([1.0, -1, 1, -1]).reshape(1, 2, 2)
    scans = torch.zeros(3, 13, 1, 2, 2)
    scans[0, 0], scans[1, 0] = 0.5 + 0.1 * pattern, 0.7 + 0.2 * pattern  # correlated
    scans[2, 0] = 0.5 - 0.1 * pattern  # anticorrelated
    scans[0, 1] = scans[2, 1] = 1.0
    scans[1, 1], scans[1, 2] = 3.0, 4.0  # cosine 0.6
    intensity, features = (
        np.array([[0, 0, 2], [0, 0, 2], [2, 2, 0]]),
        np.array([[0, 0.4, 0], [0.4, 0, 0.4], [0, 0.4, 0]]),
    )
    result = pairwise_distances(list(scans))
    np.testing.assert_allclose(result, intensity / (4 / 3) / 2 + features / (0.8 / 3) / 2)
    assert result[np.triu_indices(3, 1)].mean() == pytest.approx(1)
    np.testing.assert_array_equal(pairwise_distances([scans[1]] * 3), np.zeros((3, 3)))
    np.testing.assert_array_equal(pairwise_distances([scans[0]]), [[0]])


def test_only_what_half_of_the_scans_show_counts() -> None:
    rng = np.random.default_rng(0)
    scans = torch.from_numpy(rng.uniform(0.1, 1, (3, 13, 4, 4, 4)))
    scans[:2, :, 0] = 0  # air in two of three
    other = scans.clone()
    other[2, :, 0] = 0
    np.testing.assert_allclose(pairwise_distances(list(scans)), pairwise_distances(list(other)))
    scans[0, :, 1] = 0  # in one of three: it differs
    assert abs(pairwise_distances(list(scans)) - pairwise_distances(list(other))).max() > 0.1


def test_the_medoid_is_closest_to_the_average_signature() -> None:
    rng = np.random.default_rng(0)
    scans = rng.uniform(0.1, 1, (8, 13, 3, 3, 3))
    intensity = scans[:, 0].reshape(8, -1) - scans[:, 0].reshape(8, -1).mean(1, keepdims=True)
    offsets = []
    for vectors in (intensity, scans[:, 1:].reshape(8, -1)):
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        squares = ((units - units.mean(0)) ** 2).sum(1)
        offsets.append(squares / squares.mean())
    assert medoid(pairwise_distances([torch.from_numpy(scan) for scan in scans])) == np.argmin(sum(offsets))


@pytest.mark.slow
def test_position_does_not_matter_but_anatomy_does() -> None:
    reference = thumbnail(scan())
    own = signature(reference)
    assert own.shape == (13, 48, 48, 48)
    assert float(own[:, 0, 0, 0].abs().max()) == 0  # air
    moved = signature(reference, thumbnail(scan(origin=37.0)))
    other = signature(reference, thumbnail(scan(organ=-30)))
    distances = pairwise_distances([own, moved, other])
    assert distances[0, 1] < 0.05 * distances[0, 2]


def test_storage_order_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestion, "affine", lambda fixed, moving: np.eye(4))
    image = scan()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = image.shape[1] - 1
    flipped = MetaTensor(image.as_tensor().flip(1), affine=image.affine.numpy() @ flip)
    reference = thumbnail(scan(80))
    torch.testing.assert_close(signature(reference, thumbnail(flipped)), signature(reference, thumbnail(image)))


def test_a_scan_without_a_body_is_refused() -> None:
    empty = MetaTensor(torch.zeros(1, 24, 24, 24), affine=np.diag([10.0, 10, 10, 1]))
    with pytest.raises(RegistrationError, match="no body to register"):
        signature(thumbnail(scan()), thumbnail(empty))
