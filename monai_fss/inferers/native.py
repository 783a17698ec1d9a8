# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""From logits of ways, on the grid of an inferer, to masks and probability maps on the scan's own grid."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_fss.data import write_probabilities
from monai_fss.registration import Grid

from .found import FOUND
from .on_grid import WaysOnGrid, native_grid, slabs_on_grid, without_padding

__all__ = ["NativeLabeld", "SaveProbabilitiesd", "way_probabilities"]


def way_probabilities(logits: torch.Tensor) -> Iterator[torch.Tensor]:
    """Probability of each way against the background, by itself, one after the other.

    (1 + W, *spatial) logits -> W times (*spatial) sigmoid(way - background), float32 on the CPU. Probabilities, unlike
    logits, can be interpolated to another grid.
    """
    plain = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
    for way in plain[1:]:
        yield torch.sigmoid((way - plain[0]).float()).cpu()


class NativeLabeld(MapTransform):
    """Ways compete on the scan's own grid: logits become one label map there.

    Each voxel gets the label value of its most probable way, or 0 where none exceeds the threshold. It takes the place
    of MONAI's ``Invertd`` and ``AsDiscreted``, which need all probabilities on that grid at once (see
    :mod:`monai_fss.inferers.on_grid`), and works for inferers that have a grid of their own.

    Args:
        keys: logits (1 + W, h, w, d), MetaTensors; their affine says where they are. They become (1, H, W, D).
        values: label value of each way.
        working: also the label map on the grid of the preprocessed image, under this name: (1, h, w, d). Default: none.
        orig_keys: the preprocessed image, whose meta data tell the scan's grid.
        threshold: a labelled voxel has more than this probability. Default 0.5, as the argmax of the logits has it.
        on_image: stay on the grid of the preprocessed image, as a validation compares there. Default: the scan's own.

    Raises:
        ValueError: the number of ways is not that of ``values``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: Sequence[int],
        working: Hashable | None = None,
        orig_keys: Hashable = "image",
        threshold: float = 0.5,
        on_image: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = [int(v) for v in values]
        self.on_image = on_image
        self.working = working
        self.orig_keys = orig_keys
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Replace logits by labels."""
        result = dict(data)
        image = result[self.orig_keys]
        for key in self.key_iterator(result):
            logits = result[key]
            if logits.shape[0] != len(self.values) + 1:
                raise ValueError(
                    f"{key}: {logits.shape[0] - 1} ways but {len(self.values)} label values. Give one for each way."
                )
            if self.working is not None:
                result[self.working] = self._label(logits, Grid.of(image), image)
            result[key] = self._label(logits, Grid.of(image) if self.on_image else native_grid(image), image)
        return result

    def _label(self, logits: MetaTensor, grid: Grid, image: MetaTensor) -> MetaTensor:
        seen, source = without_padding(logits, image)
        ways = WaysOnGrid(way_probabilities(seen), source, grid, self.threshold)
        label = torch.from_numpy(ways.label(self.values))[None]
        found = {FOUND: logits.meta[FOUND]} if FOUND in logits.meta else {}
        return MetaTensor(label, meta={**image.meta, **found, "affine": torch.from_numpy(grid.affine)})


class SaveProbabilitiesd(MapTransform):
    """Write the probability of each way on the scan's own grid, class by class: ``<output_dir>/<case>.nii.gz``.

    A volume (H, W, D, W), float32, in the order of the ways; (H, W, D) of a single one.

    Args:
        keys: logits (1 + W, h, w, d), as for :class:`NativeLabeld`.
        output_dir: folder.
        orig_keys: the preprocessed image.
    """

    def __init__(
        self, keys: KeysCollection, output_dir: Any, orig_keys: Hashable = "image", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = output_dir
        self.orig_keys = orig_keys

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Write, and hand the item on."""
        result = dict(data)
        image = result[self.orig_keys]
        target = native_grid(image)
        for key in self.key_iterator(result):
            logits = result[key]
            seen, source = without_padding(logits, image)
            parts = (part for way in way_probabilities(seen) for part in slabs_on_grid(way, source, target))
            shape = target.shape if logits.shape[0] == 2 else (*target.shape, logits.shape[0] - 1)
            write_probabilities(self.output_dir, image.meta["filename_or_obj"], target.affine, shape, parts)
        return result
