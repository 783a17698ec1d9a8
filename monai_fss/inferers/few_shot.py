# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment volumes slice by slice with a network that is conditioned once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from monai.inferers import Inferer, SliceInferer

from monai_fss.networks.nets import FewShotNet

from .support import SupportSet

__all__ = ["FewShotInferer", "conditioned"]


@contextmanager
def conditioned(network: FewShotNet, support: SupportSet) -> Iterator[FewShotNet]:
    """Condition the network on a support set for a while; its own condition and mode come back afterwards."""
    mode = network.training
    kept = {name: getattr(network, name) for name in network.condition_names}
    device = next(network.parameters()).device
    try:
        network.eval()
        yield network.condition(support.image.to(device), support.label.to(device))
    finally:
        for name, buffer in kept.items():
            setattr(network, name, buffer)
        network.train(mode)


class FewShotInferer(Inferer):
    """Condition the network on the support set once, then segment any number of volumes slice by slice.

    The support set is encoded when the first volume comes, and again only if the network's weights or its condition
    have changed since, as they do between two validations of a training.

    Args:
        support: the labelled slices. None: the network must have been conditioned before.
        slices_per_batch: slices in one forward pass. Default 8: enough to keep two cores busy, small in memory.
    """

    def __init__(self, support: SupportSet | None = None, slices_per_batch: int = 8) -> None:
        self.support = support
        self.slices = SliceInferer(roi_size=(-1, -1), sw_batch_size=slices_per_batch, spatial_dim=2, progress=False)
        self._known: list[float] | None = None

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) -> logits (B, 1 + W, H, W, D)."""
        net = network.module if hasattr(network, "module") else network
        if self.support is not None:
            self._condition(net)
        if isinstance(net, FewShotNet) and not net.is_conditioned:
            raise ValueError(
                "the network has not been conditioned: it knows no class to segment. "
                "Give the inferer a support set, or call network.condition(support_image, support_label) first."
            )
        return self.segment(inputs, net)

    def segment(self, inputs: torch.Tensor, net: Any) -> torch.Tensor:
        """Run a network that is conditioned."""
        return cast(torch.Tensor, self.slices(inputs, net))

    @torch.no_grad()
    def _condition(self, net: FewShotNet) -> None:
        if self._known is not None and self._fingerprint(net) == self._known:
            return
        assert self.support is not None
        mode = net.training
        device = next(net.parameters()).device
        net.eval().condition(self.support.image.to(device), self.support.label.to(device))
        net.train(mode)
        self._known = self._fingerprint(net)

    @staticmethod
    def _fingerprint(net: FewShotNet) -> list[float]:
        # Of the values: fused optimisers and writes through .data do not raise a tensor's version counter.
        tensors = [tensor.detach().float() for tensor in (*net.parameters(), *net.buffers())]
        return torch.stack([statistic for t in tensors for statistic in (t.sum(), t.norm())]).tolist()
