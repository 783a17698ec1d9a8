# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registration of scans of a few slices, and of bodies much smaller than a human's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.inferers import Atlas
from monai_fss.registration import Grid, register, resample

SHAPE = (36, 32, 24)


def scene(shift: float = 0.0, mm: float = 6.0) -> tuple[MetaTensor, MetaTensor]:
    """A body with two organs, moved by a share of its half width: image and label."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    body = ((x - shift) / 0.8) ** 2 + (y / 0.75) ** 2 + (z / 1.4) ** 2 < 1
    one = ((x - 0.35 - shift) / 0.28) ** 2 + ((y + 0.1) / 0.33) ** 2 + (z / 0.7) ** 2 < 1
    two = ((x + 0.35 - shift) / 0.25) ** 2 + ((y - 0.1) / 0.3) ** 2 + (z / 0.6) ** 2 < 1
    noise = np.random.default_rng(int(shift * 100)).normal(0, 0.01, SHAPE)
    image = 0.3 * body + 0.2 * one + 0.5 * two + noise * body
    affine = torch.diag(torch.tensor([mm, mm, mm, 1.0], dtype=torch.float64))
    label = torch.from_numpy((1 * one + 2 * two).astype(np.int16))[None]
    return MetaTensor(torch.from_numpy(image)[None].float(), affine=affine), MetaTensor(label, affine=affine)


def cut(image: MetaTensor, first: int, slices: int) -> MetaTensor:
    grid = Grid.of(image).crop((0, 0, first), (*SHAPE[:2], first + slices))
    return MetaTensor(image.as_tensor()[..., first : first + slices], affine=torch.from_numpy(grid.affine))


def dice(
    query: tuple[MetaTensor, MetaTensor], support: tuple[MetaTensor, MetaTensor], sides: bool = False
) -> list[float]:
    quick = {"preset": "fast", "starts": 1}
    atlas = Atlas([{"image": support[0], "label": support[1]}], registration=quick, back={}, cache=None, sides=sides)
    probabilities = resample(atlas(query[0]), Grid.of(query[0]), antialias=False).numpy()
    mask = np.where(probabilities.max(0) > 0.5, 1 + probabilities.argmax(0), 0)
    truth = query[1][0].numpy()
    return [2 * ((mask == v) & (truth == v)).sum() / ((mask == v).sum() + (truth == v).sum()) for v in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("slices", [1, 2, 4])  # three: below
def test_a_scan_of_few_slices_is_segmented(slices: int) -> None:
    query = scene(0.1)
    assert min(dice((cut(query[0], 11, slices), cut(query[1], 11, slices)), scene(), sides=True)) > 0.85


@pytest.mark.slow
def test_a_labelled_scan_of_few_slices_registers_too() -> None:
    support, query = scene(), scene(0.1)
    thin = cut(query[0], 11, 3), cut(query[1], 11, 3)
    assert min(dice(thin, (cut(support[0], 11, 3), cut(support[1], 11, 3)))) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("mm", [1.0, 0.2])
def test_a_small_body_is_segmented_as_a_large_one(mm: float) -> None:
    """36 and 7 mm wide instead of 216: a mouse, and an organ of one."""
    assert min(dice(scene(0.1, mm), scene(0, mm))) > 0.9


def test_a_world_of_another_scale_gives_the_same_map() -> None:
    """Scans of 54 and of 5.4 mm are both registered as if they were of 100 mm."""
    fields = [
        register(scene(0.1, mm)[0], scene(0, mm)[0], "affine", preset="fast", starts=1, spacing=[2 * mm] * 3)
        for mm in (1.5, 0.15)
    ]
    torch.testing.assert_close(fields[0].data, fields[1].data * 10, atol=0.02, rtol=0)
    middle = torch.tensor(np.array([18.0, 16, 12]) * 1.5)[None]
    assert fields[0].map(middle)[0, 0] - middle[0, 0] == pytest.approx(-0.1 * 17.5 * 1.5, abs=1)
