# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The multi-atlas prior on subjects that have the same organs, in other noise and at another place of the world."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.data import WHOLE_BODY_LABELS, whole_body_phantom
from monai_fss.inferers.two_stage.priors import OrganPrior
from monai_fss.registration import Grid

LIVER, LUNG = WHOLE_BODY_LABELS["liver"], WHOLE_BODY_LABELS["right_lung"]


def scan(seed: int) -> dict[str, MetaTensor]:
    made = whole_body_phantom(seed, shape=(44, 28, 40), spacing=(8, 8, 8), height=100, variation=0)
    affine = torch.from_numpy(made.affine)
    image = torch.from_numpy(made.image)[None].float().div(900).clamp(0, 1)
    return {
        "image": MetaTensor(image, affine=affine),
        "label": MetaTensor(torch.from_numpy(made.label)[None], affine=affine),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_it_finds_organs_where_they_are_and_none_that_no_scan_shows() -> None:
    query, settings = scan(2), {"preset": "fast", "starts": 1}
    prior = OrganPrior([scan(0), scan(1)], [LIVER, 99, LUNG], settings)
    maps = prior(query["image"], Grid.of(query["image"]))
    assert maps.shape == (3, 44, 28, 40) and not maps[1].any() and prior.shown == [LIVER, LUNG]
    for number, value in ((0, LIVER), (2, LUNG)):
        found, truth = maps[number].numpy() > 0.5, query["label"][0].numpy() == value
        assert 2 * np.sum(found & truth) / (found.sum() + truth.sum()) > 0.8


def test_without_scans_there_is_none() -> None:
    query = scan(0)
    prior = OrganPrior([], [LIVER])
    assert prior.atlas is None and not prior(query["image"], Grid.of(query["image"])).any()
