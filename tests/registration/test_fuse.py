# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Fusion of scans that do not all label the same organs."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.registration.fusion import fuse, majority_vote

SHAPE = (12, 12, 4)


def labels() -> np.ndarray:
    """Three scans: the first labels 1 alone, the others 4 alone; 4 lies a voxel apart in these two."""
    made = np.zeros((3, *SHAPE), np.int16)
    made[0, 1:5, 1:5], made[1, 7:11, 7:11], made[2, 7:11, 6:10] = 1, 4, 4
    return made


SHOWN = np.array([[True, False], [False, True], [False, True]])


@pytest.mark.parametrize("fusion", ["majority", "staple", "local", "pbaf"])
def test_a_scan_has_no_vote_on_an_organ_that_it_does_not_label(fusion: str) -> None:
    image = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    fused = fuse(fusion, labels(), SHOWN, [1, 4], image, np.stack([image] * 3), [1, 1, 1])
    assert np.array_equal(fused[0] > 0.5, labels()[0] == 1), "two of three scans do not label it"
    both = (labels()[1] == 4) & (labels()[2] == 4)
    assert (fused[1][both] > 0.99).all() and not (fused[1][labels()[0] == 1] > 0.01).any()


def test_where_all_label_all_it_is_the_fusion_itself() -> None:
    made = labels()
    expected = majority_vote(made, [1, 4])
    found = fuse("majority", made, np.ones((3, 2), bool), [1, 4], np.zeros(SHAPE), None, [1, 1, 1])
    assert np.array_equal(found, expected) and expected.max() == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="fusion 'local' looks at the scans"):
        fuse("local", made, np.ones((3, 2), bool), [1, 4], np.zeros(SHAPE), None, [1, 1, 1])
