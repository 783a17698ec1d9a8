# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How often episodes are drawn from each volume."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.transforms import NoEpisodeError

__all__ = ["draws"]


def draws(
    items: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]], sample: Callable[[Any], Any]
) -> list[int]:
    """Indices of the volumes to draw episodes from, for ``torch.utils.data.Subset``.

    Whole scans are there once each. A run of slices (see :func:`monai_fss.data.training_items`) is there once for each
    slice: where a scan leaves runs of 2 and 12 slices, the 2 would otherwise make half of its episodes. A run too short
    for any episode, such as one whose supervoxels show in one slice each, is not there.

    Args:
        items: the data list.
        volumes: what became of each item; only those of runs are looked at.
        sample: draws an episode from a volume, such as :class:`monai_fss.transforms.SampleEpisode`.

    Returns:
        indices, rising.

    Raises:
        ScanError: no run gives an episode.

    Warns:
        InputWarning: a run gives none.
    """
    result: list[int] = []
    for index, item in enumerate(items):
        if "slices" not in item:
            result.append(index)
            continue
        first, stop = item["slices"]
        try:
            sample(volumes[index])
        except NoEpisodeError as error:
            text = f"{item['image']}: slices {first} to {stop - 1} are not trained on: {error}"
            warnings.warn(text, InputWarning, stacklevel=2)
            continue
        result += [index] * (stop - first)
    if not result:
        raise ScanError(
            "test_classes: of what they leave of the scans no run of slices gives an episode. Leave out fewer classes, "
            "or lower the smallest size of a pseudo-label (min_area, min_volume)."
        )
    return result
