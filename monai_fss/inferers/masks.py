# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""From logits to files of masks: the post-processing of every bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from monai.transforms import Compose, LabelFilterd, SaveImaged, ToDeviced

from monai_fss.data import AtomicNibabelWriter, CaseLayout
from monai_fss.transforms import LargestComponentd, count_pieces

from .native import NativeLabeld, SaveProbabilitiesd

__all__ = ["SaveMasks", "pieces_of"]


def pieces_of(scans: Sequence[Mapping[str, torch.Tensor]]) -> dict[int, int]:
    """In how many pieces preprocessed labelled scans show each value, see :func:`monai_fss.transforms.count_pieces`."""
    return count_pieces(scan["label"] for scan in scans)


class SaveMasks(Compose):
    """Make masks on each scan's own grid of logits, and write them: ``<output_dir>/<case>.nii.gz``.

    Class by class, since probabilities, not labels, are resampled (:class:`NativeLabeld`), and on the processor: what
    follows works with numpy. An item has ``image``, the preprocessed scan, and ``pred``, logits (1 + W, h, w, d); after
    it ``pred`` is the label map (1, H, W, D). The transforms stand in ``transforms`` one by one, as MONAI Label and
    MONAI Deploy look for them.

    Args:
        output_dir: folder.
        values: label value of each way.
        labels: values that are wanted of them. Default: all.
        largest_component: keep of each class the largest pieces alone. Default: do so.
        pieces: label value to how many, see :func:`monai_fss.transforms.count_pieces`. Default: one of each.
        probabilities: also write the probability of each way, ``<output_dir>/probabilities/<case>.nii.gz``, see
            :class:`SaveProbabilitiesd`. Default: not.
        working: also keep the label map on the network's grid, under this name, (1, h, w, d), for a label-free quality
            such as :class:`ReverseAccuracy`. Default None: not.
        write: write the masks. Default: do so; an evaluation scores them instead.
    """

    def __init__(
        self,
        output_dir: str | Path,
        values: Sequence[int],
        labels: Sequence[int] | None = None,
        largest_component: bool = True,
        probabilities: bool = False,
        working: str | None = None,
        write: bool = True,
        pieces: Mapping[int, int] | None = None,
    ) -> None:
        maps = ["pred"] if working is None else ["pred", working]
        steps: list[Callable] = [ToDeviced(["image", "pred"], device="cpu")]
        if probabilities:
            steps.append(SaveProbabilitiesd("pred", f"{output_dir}/probabilities"))
        steps.append(NativeLabeld("pred", list(values), working))
        if labels is not None:
            steps.append(LabelFilterd(maps, applied_labels=list(labels)))
        if largest_component:
            steps.append(LargestComponentd(maps, pieces))
        if write:
            save = SaveImaged(
                "pred",
                writer=AtomicNibabelWriter,
                folder_layout=CaseLayout(output_dir),
                output_dtype=None,
                resample=False,
                print_log=False,
            )
            steps.append(save)
        super().__init__(steps)
