# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whole scans by a network that has learnt which organ each voxel of a window is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer

from .found import found_in, with_found

__all__ = ["WindowConfidence", "WindowInferer", "against_the_others", "class_confidence"]


class WindowInferer(Inferer):
    """Segment whole scans in windows that overlap, by a network whose classes exclude each other.

    Args:
        roi_size: (H, W, D) of the windows, those of the training. Smaller scans are padded with 0.
        values: label value of each class but the background, in the network's order.
        overlap: of neighbouring windows. Default 0.5; where they overlap, logits are averaged with Gaussian weights.
        batch: windows in one pass. Default 1: on a processor more are no faster.
    """

    def __init__(self, roi_size: Sequence[int], values: Sequence[int], overlap: float = 0.5, batch: int = 1) -> None:
        self.windows = SlidingWindowInferer(roi_size, sw_batch_size=batch, overlap=overlap, mode="gaussian")
        self.values = [int(value) for value in values]

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D), each class against its strongest rival.

        :func:`monai_fss.inferers.found_in` has ``confidence``, see :func:`class_confidence`.
        """
        if not isinstance(inputs, MetaTensor):
            raise TypeError("what is found goes into the meta data of the result: give a MetaTensor.")
        logits = self.windows(inputs.as_tensor(), network)
        found = [{"confidence": class_confidence(one, self.values)} for one in logits]
        return with_found(torch.stack([against_the_others(one) for one in logits]), inputs, found)


def against_the_others(logits: torch.Tensor) -> torch.Tensor:
    """(1 + W, ...) logits of classes of which one is true -> those of each against its strongest rival, background 0.

    The ways of a few-shot network are each compared with the background alone, and so is what reads logits here; of
    classes that exclude each other left and right organs look alike, and both are unlike the background.
    """
    best, second = logits.topk(2, dim=0).values
    rival = torch.where(logits == best, second, best)
    return torch.cat([torch.zeros_like(logits[:1]), (logits - rival)[1:]])


def class_confidence(logits: torch.Tensor, values: Sequence[int]) -> dict[int, float]:
    """Mean probability of each class over the voxels where it is the most probable one.

    Args:
        logits: (1 + W, *spatial) of classes of which one is true, background first.
        values: label value of each of the W.

    Returns:
        label value to 0..1, above 1 / (1 + W) where there is such a voxel; 0 where there is none.
    """
    probability, way = logits.float().softmax(0).max(0)
    own = {value: probability[way == number] for number, value in enumerate(values, start=1)}
    return {value: float(found.mean()) if len(found) else 0.0 for value, found in own.items()}


class WindowConfidence:
    """How sure the network is of its own mask: the mean probability of the mask's voxels.

    It needs no label and says nothing of voxels that were missed; a network can be sure and wrong. Whether it ranks
    masks by their Dice has not been measured. Pieces that are removed afterwards are counted.

    Args:
        values: label values.
        key: of the label map that brings what was found out. Default "working", that on the network's grid.
    """

    def __init__(self, values: Sequence[int], key: str = "working") -> None:
        self.values = [int(value) for value in values]
        self.key = key

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Of each class in one scan, 0..1; 0 for a class without a mask.

        Args:
            output: the label map ``key`` (1, H, W, D), with what :class:`WindowInferer` found out, or another inferer
                that has ``confidence``.
        """
        found = found_in(output[self.key])["confidence"]
        mask = np.asarray(output[self.key].cpu())
        return {value: found[str(value)] if (mask == value).any() else 0.0 for value in self.values}
