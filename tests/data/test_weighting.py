# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How often episodes are drawn from a whole scan and from the runs that setting 2 leaves of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import Subset

from monai_fss.data import InputWarning, ScanError, episode_indices
from monai_fss.transforms import NoEpisodeError, SampleEpisode, SampleVolumeEpisode

RUNS = [
    {"image": "a.nii.gz", "slices": [0, 3]},
    {"image": "a.nii.gz", "slices": [9, 11]},
    {"image": "b.nii.gz", "slices": [4, 5]},
]


class Untouched:
    """Volumes that nobody may look at."""

    def __getitem__(self, index: int) -> Any:
        raise AssertionError(index)


def test_whole_scans_are_drawn_alike_and_none_is_loaded() -> None:
    items = [{"image": "a.nii.gz"}, {"image": "b.nii.gz"}]
    assert episode_indices(items, Untouched(), Untouched()) == [0, 1]  # type: ignore[arg-type]


def test_a_run_is_drawn_as_often_as_it_has_slices() -> None:
    indices = episode_indices(RUNS, [{}, {}, {}], lambda volume: volume)
    assert indices == [0, 0, 0, 1, 1, 2]
    assert [Subset("xyz", indices)[i] for i in range(6)] == list("xxxyyz")  # type: ignore[arg-type]


def test_a_run_without_an_episode_is_named_and_left_out() -> None:
    def sample(volume: dict[str, int]) -> None:
        if volume["n"] == 1:
            raise NoEpisodeError("none of 2 supervoxels. Lower min_area.")

    volumes = [{"n": n} for n in range(3)]
    with pytest.warns(InputWarning, match="a.nii.gz: slices 9 to 10 are not trained on: none of 2 supervoxels. Lower"):
        assert episode_indices(RUNS, volumes, sample) == [0, 0, 0, 2]
    with (
        pytest.warns(InputWarning, match="slices 9 to 10"),
        pytest.raises(ScanError, match="no run of slices gives an episode. Leave out fewer classes"),
    ):
        episode_indices(RUNS[1:2], volumes[1:2], sample)


def test_another_error_is_not_hidden() -> None:
    def sample(volume: Any) -> None:
        raise ValueError("slices of (8, 8) are smaller than the window. Pad.")

    with pytest.raises(ValueError, match="smaller than the window"):
        episode_indices(RUNS, [{}, {}, {}], sample)


@pytest.mark.parametrize(
    "sample",
    [SampleEpisode((4, 4)), SampleEpisode((4, 4), same_slice=True), SampleVolumeEpisode((4, 4, 2))],
    ids=["supervoxels", "superpixels", "volumes"],
)
def test_the_samplers_say_that_there_is_no_episode(sample: Any) -> None:
    """The supervoxels of a short run may lie in one slice each."""
    volume = {
        "image": torch.zeros(1, 8, 8, 2),
        "supervoxels": torch.zeros(1, 8, 8, 2, dtype=torch.int32),
        "table": torch.tensor([[0.0, 0.0], [312.0, 0.0], [0.0, 312.0]]),
    }
    with pytest.raises(NoEpisodeError, match=r"none of 2 super(voxels|pixels) has"):
        sample(volume)
