# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The label that LT-Net's weights hold, transferred to a scan: by an affine registration, and then by its flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.data import ContentCache
from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.atlas_inferer import AtlasInferer
from monai_fss.inferers.labelled import seen
from monai_fss.inferers.one_shot.aligned import field_of_flow
from monai_fss.metrics import strict_dice
from monai_fss.networks.nets import LTNet
from monai_fss.registration.grid import Grid
from monai_fss.registration.resample import resample

__all__ = ["LabelTransferInferer"]


class LabelTransferInferer(AtlasInferer):
    """Bring scans to the grid of :class:`monai_fss.networks.nets.LTNet`, and what it moves there back to them.

    Args:
        values: label value of each way of the network.
        registration: arguments of :func:`monai_fss.registration.register` but the method, as in training.
        cache: keeps registrations. Default: none are kept.
        sides: see :class:`monai_fss.inferers.Atlas`. Default: look at the sides; a validation need not.

    :func:`monai_fss.inferers.found_in` has ``confidence``: of each class the Dice of its mask before and after the way
    to the scan and back, by the network alone, {value: 0..1}; and what the atlas's has.
    """

    def __init__(
        self,
        values: Sequence[int],
        registration: Mapping[str, Any] | None = None,
        cache: ContentCache | None = None,
        sides: bool = True,
    ) -> None:
        self.values = [int(value) for value in values]
        self.registration = dict(registration or {})
        self.cache = cache
        self.sides = sides
        self._known: tuple[torch.Tensor, Atlas] | None = None

    def result(self, image: MetaTensor, evidence: MetaTensor | None, network: Any) -> MetaTensor:
        """Probabilities (W, h, w, d) of one scan, see :meth:`monai_fss.inferers.Atlas.__call__`."""
        net = cast(LTNet, network.module if hasattr(network, "module") else network)
        query, atlas = seen(image), self.known(net)
        grid_of_net = Grid.of(atlas.scans[0].label)
        affine = torch.from_numpy(grid_of_net.affine)
        confidence: dict[int, float] = {}

        @torch.no_grad()
        def decide(fixed: np.ndarray, grid: Grid, placed: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
            matrix = placed[0][1].affine_part()
            aligned = resample(query, grid_of_net, np.linalg.inv(matrix)).as_tensor()
            found = net.cycle(aligned[None].to(net.labelled.device))
            field = field_of_flow(found.forth[0].float().cpu(), grid_of_net, matrix, grid)
            masks = MetaTensor(found.masks[0].float().cpu(), affine=affine)
            probabilities = resample(masks, grid, field).as_tensor().numpy()
            pairs = zip(self.values, found.masks[0].cpu() > 0.5, found.masks_returned[0].cpu() > 0.5, strict=True)
            confidence.update({value: strict_dice(after.numpy(), before.numpy()) for value, before, after in pairs})
            return probabilities, probabilities.reshape(len(probabilities), -1).max(1) < 0.5

        result = atlas.segment(image, decide)
        result.meta["confidence"] = {value: confidence.get(value, 0.0) for value in self.values}
        return result

    def known(self, net: LTNet) -> Atlas:
        """The labelled scan that the network holds, as registration sees it."""
        if self._known is None or self._known[0] is not net.labelled:
            affine = net.affine.double().cpu()
            masks = net.masks[0].cpu().float()
            best = masks.max(0)
            numbers = torch.tensor(self.values, dtype=torch.int32)[best.indices] * (best.values > 127)
            meta = {"filename_or_obj": "labelled", "affine": affine}
            scan = {
                "image": MetaTensor(net.labelled[0].float().cpu(), meta=meta),
                "label": MetaTensor(numbers[None], meta=meta),
            }
            spacing = np.linalg.norm(affine[:3, :3].numpy(), axis=0).round(6).tolist()
            more: dict[str, Any] = {"refinement": None, "cache": self.cache, "sides": self.sides}
            atlas = Atlas([scan], self.values, spacing, registration={"method": "affine", **self.registration}, **more)
            self._known = net.labelled, atlas
        return self._known[1]
