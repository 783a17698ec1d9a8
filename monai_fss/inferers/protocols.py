# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet's evaluation protocols: EP1 is told where along the body the organ lies in the query, EP2 is not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor, list_data_collate
from monai.inferers import Inferer

from monai_fss.networks.nets import FewShotNet

from .atlas import Atlas
from .few_shot import conditioned
from .support import SupportSet, select_slices
from .support_volumes import support_of
from .volume import FewShotVolumeInferer

__all__ = ["EP1", "EP2", "AtlasProtocol", "Protocol", "chunks", "told_slices"]

Item = Mapping[str, torch.Tensor]


def chunks(slices: Sequence[int], parts: int = 3) -> list[list[int]]:
    """Divide a list of slices into succeeding parts as ADNet does: borders at linspace(0, n, parts + 1), cut off.

    >>> chunks(range(10, 17))
    [[10, 11], [12, 13], [14, 15, 16]]
    """
    borders = np.linspace(0, len(slices), parts + 1).astype(int)
    return [[int(z) for z in slices[a:b]] for a, b in zip(borders[:-1], borders[1:], strict=True)]


class Protocol(ABC):
    """How a support volume segments a query volume.

    A network that segments volumes (``spatial_dims`` 3) gets volumes: the support by :func:`support_of`, with the
    same slices labelled, and the query by :class:`FewShotVolumeInferer`.

    Args:
        batch: slices in one forward pass, of a network that segments slices.
        windows: in which a network that segments volumes sees the query. Default: those of
            :class:`FewShotVolumeInferer`.
    """

    name: str

    def __init__(self, batch: int = 8, windows: FewShotVolumeInferer | None = None) -> None:
        self.batch = batch
        self.windows = windows or FewShotVolumeInferer()

    @abstractmethod
    def __call__(
        self, network: FewShotNet, support: Sequence[Item], query: Item, values: Sequence[int]
    ) -> torch.Tensor:
        """Probability of each way against the background in every voxel.

        Args:
            network: its own condition is left as it was.
            support: preprocessed labelled scans, ``image`` (C, H, W, D) and ``label`` (1, H, W, D).
            query: preprocessed ``image`` and, for EP1, ``truth`` (1, H', W', D), the label before in-plane resampling.
            values: label value of each way; each must occur in the support.

        Returns:
            (W, H, W, D) on the CPU: on the query's preprocessed grid, or a MetaTensor whose affine says where it is.
            EP1 counts in the slices that it is told alone, see :func:`told_slices`.
        """

    @property
    @abstractmethod
    def labelled_slices(self) -> int | str:
        """Labelled slices of each class that the protocol uses of one support scan."""

    @torch.no_grad()
    def _forward(self, network: FewShotNet, image: torch.Tensor, slices: Sequence[int]) -> torch.Tensor:
        """Probabilities (W, H, W, len(slices)) of some slices."""
        device = next(network.parameters()).device
        if network.spatial_dims == 3:
            logits = self.windows.segment(image[None].to(device), network).float()[0]
            return torch.sigmoid(logits[1:] - logits[:1]).cpu()[..., list(slices)]
        results = []
        for start in range(0, len(slices), self.batch):
            stack = image[..., list(slices[start : start + self.batch])].permute(3, 0, 1, 2).to(device)
            logits = network(stack).float()
            results.append(torch.sigmoid(logits[:, 1:] - logits[:, :1]).cpu())
        return torch.cat(results).permute(1, 2, 3, 0)


class EP2(Protocol):
    """Labelled slices of the support segment the whole query volume.

    Args:
        slices: "middle" (the paper's: one slice), a number, or "all"; see :func:`select_slices`.
        batch, windows: see :class:`Protocol`.
    """

    name = "ep2"

    def __init__(
        self, slices: int | str = "middle", batch: int = 8, windows: FewShotVolumeInferer | None = None
    ) -> None:
        super().__init__(batch, windows)
        self.slices = slices

    @property
    def labelled_slices(self) -> int | str:
        """1 for "middle"."""
        return 1 if self.slices == "middle" else self.slices

    def __call__(
        self, network: FewShotNet, support: Sequence[Item], query: Item, values: Sequence[int]
    ) -> torch.Tensor:
        """Condition once, segment every slice."""
        image = _plain(query["image"])
        with conditioned(network, support_of(network, support, values, self.slices)) as net:
            return self._forward(net, image, range(image.shape[-1]))


class EP1(Protocol):
    """The slices that show a class are divided into parts; the middle support slice of a part segments the query's.

    The network is conditioned once for each part, for all classes together. It needs to know in which slices of the
    query the class lies (``truth``): elsewhere the probability is 0.

    Args:
        parts: Default 3, the papers'.
        batch, windows: see :class:`Protocol`.
    """

    name = "ep1"

    def __init__(self, parts: int = 3, batch: int = 8, windows: FewShotVolumeInferer | None = None) -> None:
        super().__init__(batch, windows)
        self.parts = parts

    @property
    def labelled_slices(self) -> int:
        """One for each part."""
        return self.parts

    def __call__(
        self, network: FewShotNet, support: Sequence[Item], query: Item, values: Sequence[int]
    ) -> torch.Tensor:
        """Condition once for each part, segment its slices."""
        image = _plain(query["image"])
        truth = _plain(query["truth"])[0].numpy()
        wanted = [chunks(select_slices(truth == value, "all"), self.parts) for value in values]
        result = torch.zeros(len(values), *image.shape[1:])
        for part in range(self.parts):
            slices = sorted({z for way in wanted for z in way[part]})
            if not slices:
                continue
            with conditioned(network, self._support(network, support, values, part)) as net:
                probability = self._forward(net, image, slices)
            for way, own in enumerate(wanted):
                for z in own[part]:
                    result[way, ..., z] = probability[way, ..., slices.index(z)]
        return result

    def _support(self, network: FewShotNet, support: Sequence[Item], values: Sequence[int], part: int) -> SupportSet:
        """The middle slice of a part of each class, floor((2 part + 1) / (2 parts) n) of its n slices."""

        def keep(item: Item) -> Item:
            label = _plain(item["label"])
            kept = label.masked_fill(torch.isin(label, torch.tensor(values, dtype=label.dtype)), 0)
            for value in values:
                inside = select_slices((label[0] == value).numpy(), "all")
                if inside:
                    z = inside[int((2 * part + 1) / (2 * self.parts) * len(inside))]
                    kept[..., z] = torch.where(label[..., z] == value, label[..., z], kept[..., z])
            return {"image": item["image"], "label": kept}

        return support_of(network, [keep(item) for item in support], values, "all")


class AtlasProtocol(Protocol):
    """EP1 or EP2 for an :class:`Atlas`: all slices of the support are labelled, the whole query is segmented.

    Args:
        name: "ep2"; or "ep1", which is told the slices of the query that show a class, see :func:`told_slices`.
        settings: arguments of :class:`Atlas`.
    """

    def __init__(self, name: str = "ep2", settings: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if name not in ("ep1", "ep2"):
            raise ValueError(f"protocol must be ep1 or ep2, got '{name}'.")
        self.name = name
        self.settings = dict(settings or {})

    @property
    def labelled_slices(self) -> str:
        """All."""
        return "all"

    def __call__(
        self, network: FewShotNet, support: Sequence[Item], query: Item, values: Sequence[int]
    ) -> torch.Tensor:
        """Register, fuse, refine; the network is not asked."""
        return Atlas(support, values, **self.settings)(cast(MetaTensor, query["image"]))


class LocatedProtocol(Protocol):
    """EP2 for a network that has learnt what to segment: neither a labelled scan nor slices are told.

    Args:
        inferer: of the bundle, which finds where to look.
        values: label value of each of the network's ways.
        labelled_slices: that it has learnt from, for the tables.
    """

    name = "ep2"

    def __init__(self, inferer: Inferer, values: Sequence[int], labelled_slices: int | str = "scribbles") -> None:
        super().__init__()
        self.inferer = inferer
        self.values = [int(value) for value in values]
        self._labelled_slices = labelled_slices

    @property
    def labelled_slices(self) -> int | str:
        """What was labelled in the scan that it has learnt from."""
        return self._labelled_slices

    def __call__(
        self, network: FewShotNet, support: Sequence[Item], query: Item, values: Sequence[int]
    ) -> torch.Tensor:
        """Segment the query; a class that the network has not learnt is nowhere."""
        device = next(network.parameters()).device
        with torch.no_grad():
            image = list_data_collate([{"image": query["image"]}])["image"]  # with its meta data, as a loader makes it
            logits = _plain(self.inferer(image.to(device), network))[0].cpu()
        ways = torch.sigmoid(logits[1:] - logits[:1])
        nowhere = torch.zeros_like(ways[0])
        return torch.stack([ways[self.values.index(v)] if v in self.values else nowhere for v in values])


def told_slices(truth: torch.Tensor, values: Sequence[int]) -> list[np.ndarray]:
    """What EP1 is told: for each value, bool (D,), which slices of the last axis show it.

    Args:
        truth: (1, H, W, D), label of the query.
        values: label value of each way.
    """
    told = _plain(truth)[0].cpu().numpy()  # torch would compare a value that its type does not hold as another one
    return [(told == value).any((0, 1)) for value in values]


def _plain(array: torch.Tensor) -> torch.Tensor:
    return array.as_tensor() if hasattr(array, "as_tensor") else array
