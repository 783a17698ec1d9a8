# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet's first evaluation protocol, EP1, which is told where along the body an organ lies in the query.

The second one, EP2, is told nothing: it is what a bundle's own inferer does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_fss.data import LoadScan, case_name
from monai_fss.networks.nets import FewShotNet
from monai_fss.transforms import SliceOrientationd

from .few_shot import FewShotInferer, conditioned
from .found import with_found
from .scans import each_scan, scan_name
from .support import SupportSet, select_slices, support_of

__all__ = ["EP1_RULES", "EP1Inferer", "QueryLabels", "check_rule", "chunks", "shown_slices", "support_place"]

EP1_RULES = ("shown", "range", "paired")
"""What EP1 divides, see :func:`chunks`: "shown" is the rule of ADNet's public code, "range" of ALPNet's, "paired" of
SE-Net's."""
NOWHERE = -100.0
"""Logit of a class in a slice that is not told to show it: its probability is 0 there."""
Item = Mapping[str, torch.Tensor]


def chunks(slices: Sequence[int], parts: int = 3, rule: str = "shown") -> list[list[int]]:
    """Divide the slices of a query that show a class into succeeding parts.

    - ``"shown"``, ADNet's: the list of these slices, into parts of equal length: borders at linspace(0, n, parts + 1),
      cut off.
    - ``"range"``, ALPNet's: all slices from the first to the last one, those in between that do not show the class too,
      by their place in that range: slice z is in part floor((z - first) / ((last - first) / parts)), and the last slice
      in the last part, not in one of its own. A single slice is in the first part, as there.
    - ``"paired"``, SE-Net's: the same slices, n of them, cut at the rounded places of linspace(0, n - 1, parts), so
      that the last part is the last slice alone; where these are the same place, the parts before it are empty.

    Of three parts of slices without gaps the two differ where their number is two more than a multiple of three
    (ALPNet's first part has one slice more then, its second one less), and in the part of a single slice.

    Args:
        slices: in rising order.
        parts: Default 3, the papers'.
        rule: one of :data:`EP1_RULES`.

    Source: S. Hansen et al., Medical Image Analysis 2022, section 4.1; C. Ouyang et al., ECCV 2020, section 4.1; A. G.
    Roy et al., Medical Image Analysis 2020; what they leave open is that of their public code.

    >>> chunks(range(10, 17))
    [[10, 11], [12, 13], [14, 15, 16]]
    >>> chunks([10, 11, 13, 16], rule="range")
    [[10, 11], [12, 13], [14, 15, 16]]
    >>> chunks(range(10, 17), rule="paired")
    [[10, 11, 12], [13, 14, 15], [16]]
    """
    check_rule(rule)
    if rule == "shown":
        borders = np.linspace(0, len(slices), parts + 1).astype(int)
        return [[int(z) for z in slices[a:b]] for a, b in zip(borders[:-1], borders[1:], strict=True)]
    divided: list[list[int]] = [[] for _ in range(parts)]
    if len(slices) > 0 and rule == "paired":
        whole = range(int(slices[0]), int(slices[-1]) + 1)
        starts = np.round(np.linspace(0, len(whole) - 1, parts)).astype(int)
        return [list(whole[a:b]) for a, b in zip(starts, [*starts[1:], len(whole)], strict=True)]
    if len(slices) > 0:
        first, last = int(slices[0]), int(slices[-1])
        for z in range(first, last + 1):
            part = parts * (z - first) // max(last - first, 1)  # whole numbers: no border is missed by rounding
            divided[min(part, parts - 1)].append(z)
    return divided


def check_rule(rule: str) -> None:
    """Raise a ValueError unless there is such a rule, see :data:`EP1_RULES`."""
    if rule not in EP1_RULES:
        raise ValueError(f"the rule of EP1 must be one of {', '.join(EP1_RULES)}, got {rule!r}.")


def shown_slices(truth: torch.Tensor, values: Sequence[int], rule: str = "shown") -> list[np.ndarray]:
    """What EP1 is told: for each value, bool (D,), which slices of the last axis show it.

    Args:
        truth: (1, H, W, D), label of the query.
        values: label value of each way.
        rule: of the division, see :func:`chunks`: by "range" and "paired" the slices between the first and the last one
            that show a value are told as if all of them did, and are segmented and scored.
    """
    check_rule(rule)
    told = np.asarray(truth[0])  # torch would compare a value that its type does not hold as another one
    shown = [(told == value).any((0, 1)) for value in values]
    if rule == "shown":
        return shown
    return [np.logical_or.accumulate(own) & np.logical_or.accumulate(own[::-1])[::-1] for own in shown]


class QueryLabels:
    """Labels of the scans to segment, which they are scored by, and of which EP1 is told the slices.

    Args:
        files: label of each scan; both have the same name.
    """

    def __init__(self, files: Iterable[str | Path]) -> None:
        self.files = {case_name(file): file for file in files}
        self._last: tuple[str, MetaTensor] | None = None  # EP1 and the score ask for the same one

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """The label of a scan, in the voxel order of the scan's file.

        Args:
            image: the scan, preprocessed; it says which case it is.

        Returns:
            whole numbers (1, H, W, D) at the full resolution, axes in the order and direction that the bundles work
            in (:class:`monai_fss.transforms.SliceOrientationd`): slices are along the last one.

        Raises:
            KeyError: there is no label of this case.
        """
        case = scan_name(image)
        if self._last is None or self._last[0] != case:
            if case not in self.files:
                raise KeyError(f"{case}: no label is known. Labels are of {', '.join(self.files)}.")
            label = LoadScan(as_label=True)(self.files[case], image)
            self._last = case, SliceOrientationd("label")({"label": label})["label"]
        return self._last[1]


class EP1Inferer(Inferer):
    """The slices that show a class are divided into parts; the middle support slice of a part segments the query's.

    The network is conditioned once for each part, for all classes together. In slices of the query that are not told
    (:func:`shown_slices`) a class is nowhere. The support slice of a part is the same by "shown" and "range" (S. Hansen
    et al., Medical Image Analysis 2022, https://arxiv.org/abs/2203.02048, section 4.1), and one of its own by "paired",
    see :func:`support_place`.

    Args:
        inferer: of the bundle, whose :meth:`FewShotInferer.segment` runs the network.
        scans: preprocessed labelled scans, ``image`` (C, H, W, D) and ``label`` (1, H, W, D).
        values: label value of each way; each must occur in the scans.
        labels: of the queries.
        parts: Default 3, the papers'.
        rule: how the query is divided, see :func:`chunks`. Default: ADNet's.

    Raises:
        ValueError: there is no such rule.
    """

    def __init__(
        self,
        inferer: FewShotInferer,
        scans: Sequence[Item],
        values: Sequence[int],
        labels: QueryLabels,
        parts: int = 3,
        rule: str = "shown",
    ) -> None:
        check_rule(rule)
        self.inferer = inferer
        self.values = [int(value) for value in values]
        self.labels = labels
        self.parts = parts
        self.rule = rule
        self.scans = [[_middle(scan, self.values, part, parts, rule) for scan in scans] for part in range(parts)]
        self._support: dict[int, SupportSet] = {}

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D), background 0."""
        if not isinstance(inputs, MetaTensor):
            raise TypeError("the scan's name says which label is told: give a MetaTensor, as a loader makes it.")
        net = network.module if hasattr(network, "module") else network
        images = each_scan(inputs)
        return with_found(torch.stack([self._segment(image, net) for image in images]), inputs, [{}] * len(images))

    @torch.no_grad()
    def _segment(self, image: MetaTensor, network: FewShotNet) -> torch.Tensor:
        shown = shown_slices(self.labels(image), self.values, self.rule)
        wanted = [chunks(np.flatnonzero(own).tolist(), self.parts, self.rule) for own in shown]
        result = torch.full((1 + len(self.values), *image.shape[1:]), NOWHERE, device=image.device)
        result[0] = 0
        plain = image.as_tensor()[None]
        for part in range(self.parts):
            slices = sorted({z for way in wanted for z in way[part]})
            if not slices:
                continue
            with conditioned(network, self._of(part, network)) as net:
                if getattr(net, "spatial_dims", 2) == 3:
                    logits = self.inferer.segment(plain, net)[0][..., slices]
                else:
                    logits = self.inferer.segment(plain[..., slices], net)[0]
            for way, own in enumerate(wanted, start=1):
                found = [slices.index(z) for z in own[part]]
                result[way][..., own[part]] = (logits[way] - logits[0]).float()[..., found]
        return result

    def _of(self, part: int, network: FewShotNet) -> SupportSet:
        if part not in self._support:
            self._support[part] = support_of(network, self.scans[part], self.values, "all")
        return self._support[part]


def support_place(count: int, part: int, parts: int, rule: str) -> int:
    """Which of a support's slices that show a class, in their order, stands for a part.

    floor((2 part + 1) / (2 parts) count), the middle of the part; by "paired", as SE-Net's public code has it, the
    rounded place ``part`` of linspace(0, count - 1, parts + 1), and (count // parts) // 2 more.

    Args:
        count: how many show it.
        part, parts: number of the part, and of all.
        rule: see :func:`chunks`.
    """
    if rule == "paired":
        return int(np.round(np.linspace(0, count - 1, parts + 1))[part]) + count // parts // 2
    return int((2 * part + 1) / (2 * parts) * count)


def _middle(scan: Item, values: Sequence[int], part: int, parts: int, rule: str) -> dict[str, torch.Tensor]:
    """A scan of which one slice of each class is labelled, that of a part."""
    label = torch.as_tensor(scan["label"]).as_subclass(torch.Tensor)
    kept = label.masked_fill(torch.isin(label, torch.tensor(values, dtype=label.dtype)), 0)
    for value in values:
        inside = select_slices((label[0] == value).numpy(), "all")
        if inside:
            z = inside[support_place(len(inside), part, parts, rule)]
            kept[..., z] = torch.where(label[..., z] == value, label[..., z], kept[..., z])
    return {"image": scan["image"], "label": kept}
