# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What grew from the points and what the network says are averaged."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import norm

from monai_fss.inferers.points.region_prior import fuse_region_mask

SPACING = (3.0, 3.0, 3.0)


def half_space() -> np.ndarray:
    """Value 4 from plane 10 on, of 20."""
    grown = np.zeros((20, 12, 12), np.int16)
    grown[10:] = 4
    return grown


def test_probabilities_are_averaged_with_the_blurred_mask() -> None:
    logits = torch.zeros(2, 20, 12, 12)
    logits[1] = float(torch.logit(torch.tensor(0.3)))
    for share in (0.25, 0.5):
        found = torch.sigmoid(fuse_region_mask(logits, half_space(), [4], SPACING, share)[1])[:, 6, 6]
        depth = (np.arange(20) - 9.5) * 3.0  # mm from the border
        expected = (1 - share) * 0.3 + share * norm.cdf(depth, scale=3.0)
        np.testing.assert_allclose(found[2:18], expected[2:18], atol=0.02)


def test_the_network_moves_the_border_by_millimetres() -> None:
    """A half each: it is above one half where p > 1 - Phi(depth / 3 mm)."""
    for p, plane in ((0.02, 12), (0.3, 11), (0.7, 9), (0.98, 8)):
        logits = torch.zeros(2, 20, 12, 12)
        logits[1] = float(torch.logit(torch.tensor(p)))
        above = fuse_region_mask(logits, half_space(), [4], SPACING)[1, :, 6, 6] > 0
        assert above.nonzero()[0].item() == plane and above[plane:].all()


def test_a_class_that_did_not_grow_is_the_networks_alone() -> None:
    logits = torch.randn(3, 20, 12, 12, generator=torch.Generator().manual_seed(0))
    logits[0] = 0
    kept = logits.clone()
    found = fuse_region_mask(logits, half_space(), [7, 4], SPACING)
    assert torch.equal(found[:2], kept[:2]) and not torch.equal(found[2], kept[2])
    assert torch.equal(logits, kept), "what was given stays"
    certain = fuse_region_mask(
        torch.full((2, 20, 12, 12), -200.0).index_fill(0, torch.tensor(0), 0), half_space(), [4], SPACING, 1
    )
    assert torch.isfinite(certain).all()
