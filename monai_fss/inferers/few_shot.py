# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment volumes slice by slice with a network that is conditioned once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from monai.inferers import Inferer, SliceInferer, SlidingWindowInferer

from monai_fss.networks.blocks import VOLUME_WINDOW
from monai_fss.networks.nets import FewShotNet

from .support import SupportSet

__all__ = ["FewShotInferer", "FewShotVolumeInferer", "conditioned"]


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


class FewShotVolumeInferer(FewShotInferer):
    """Condition a 3-D network on the support set once, then segment any number of volumes by MONAI's sliding window.

    A scan that fits into one window is segmented in one pass, as in ADNet's paper (section 5.4); the window bounds the
    memory of larger ones, such as CT of more than 40 slices. Logits of overlapping windows are averaged, by a Gaussian
    around each window's middle.

    Args:
        support: the labelled volumes, see :func:`volume_support`. None: the network must have been conditioned before.
        roi_size: largest window (H, W, slices); an axis of a smaller scan is taken as it is, unpadded. Default
            (256, 256, 40): an abdominal scan of the paper. The compact encoder takes 1.4 GB in all for
            256 x 256 x 36.
        overlap: of windows, as a fraction of their size, where there are several. Default 0.25.
    """

    def __init__(
        self,
        support: SupportSet | None = None,
        roi_size: Sequence[int] = VOLUME_WINDOW,
        overlap: float | Sequence[float] = 0.25,
    ) -> None:
        super().__init__(support)
        if len(roi_size) != 3 or min(roi_size) < 1:
            raise ValueError(f"roi_size must be (H, W, slices), each at least 1, got {tuple(roi_size)}.")
        self.roi_size = tuple(int(n) for n in roi_size)
        self.overlap = overlap

    def segment(self, inputs: torch.Tensor, net: Any) -> torch.Tensor:
        """(B, C, H, W, D) -> logits (B, 1 + W, H, W, D)."""
        # A window that is padded would show a network with instance norm another scan.
        window = [min(largest, extent) for largest, extent in zip(self.roi_size, inputs.shape[2:], strict=True)]
        windows = SlidingWindowInferer(window, sw_batch_size=1, overlap=self.overlap, mode="gaussian", progress=False)
        return cast(torch.Tensor, windows(inputs, net))
