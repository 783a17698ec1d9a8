# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labelled scans made of one: deformed to the shape of an unlabelled scan, dressed in the appearance of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_fss.data import EpisodeDataset
from monai_fss.inferers.one_shot.aligned import AlignedScans, field_of_flow
from monai_fss.networks.nets import DataAugNet
from monai_fss.registration.field import DisplacementField
from monai_fss.registration.grid import Grid
from monai_fss.registration.resample import resample

__all__ = ["Learnt", "SynthesisedPairs", "learnt_transformations", "random_field"]


class Learnt(NamedTuple):
    """What was learnt of one unlabelled scan.

    Attributes:
        field: where its points lie in the labelled scan, on its own grid.
        change: (1, h, w, d), in the labelled scan's world: what makes intensities of that look like its own.
    """

    field: DisplacementField
    change: MetaTensor


@torch.no_grad()
def learnt_transformations(
    network: DataAugNet, aligned: AlignedScans, scans: Sequence[Mapping[str, Any]]
) -> list[Learnt]:
    """What a trained network says of each unlabelled scan.

    Args:
        network: trained on the aligned scans.
        aligned: on the labelled scan's grid.
        scans: the same scans on their own grids, ``image`` (1, H, W, D), MetaTensors.
    """
    network.eval()
    device, found = next(network.parameters()).device, []
    for item, scan in zip(aligned, scans, strict=True):
        pair = torch.cat([item["labelled"], item["image"]])[None].to(device)
        given = {key: item[key][None].to(device) for key in ("flow", "back") if key in item}
        said = network(pair, **given)
        own = Grid.of(scan["image"])
        field = field_of_flow(said.flow[0], aligned.grid, item["matrix"].numpy(), own)
        change = MetaTensor(said.change[0].float().cpu(), affine=torch.from_numpy(aligned.grid.affine))
        found.append(Learnt(field, change))
    return found


def random_field(grid: Grid, spacing: float, most: float, state: np.random.RandomState) -> DisplacementField:
    """A smooth random field around a scan.

    Args:
        grid: of the scan.
        spacing: mm between points at which displacements are drawn; they are interpolated linearly.
        most: mm by which a point is moved along each axis, uniformly from -most to most.
        state: that draws.
    """
    points = grid.working([min(spacing, float(side)) for side in grid.canonical().extent])
    drawn = state.uniform(-most, most, (3, *points.shape)).astype(np.float32)
    return DisplacementField(torch.from_numpy(drawn), torch.from_numpy(points.affine))


class SynthesisedPairs(EpisodeDataset):
    """Episodes of a labelled scan that looks like others, with its label: exact, as it is moved along.

    Zhao et al., CVPR 2019. Each episode is of one of three kinds:

    * synthesised: the labelled scan x in the shape of scan i and with the appearance of scan j, that is x + change_j,
      looked up by field_i; the labelled scan is one of these itself, unchanged;
    * pseudo-labels: the unlabelled scan i as it is, with the label that the field brings;
    * random: the labelled scan in a random shape, its intensities multiplied by a random factor.

    Args:
        labelled: the labelled scan as the segmentation network sees scans: ``image`` (1, H, W, D), 0..1, and ``label``
            (1, H, W, D) of class numbers, both MetaTensors, on grids of their own.
        scans: the unlabelled scans likewise, without labels.
        learnt: of each of them, see :func:`learnt_transformations`.
        transform: random transforms of a pair.
        length: episodes in an epoch.
        seed: of the series.
        weights: of the three kinds, by which they are drawn. Default: synthesised alone.
        coupled: shape and appearance of one scan. Default: each of any, as in the paper.
        random_spacing, random_mm: see :func:`random_field`. Default 40 and 15 mm.
        factor: range of the random factor. Default (0.5, 1.5), the paper's.

    Raises:
        ValueError: there are not three weights of at least 0, or all are 0.
    """

    def __init__(
        self,
        labelled: Mapping[str, MetaTensor],
        scans: Sequence[Mapping[str, MetaTensor]],
        learnt: Sequence[Learnt],
        transform: Compose,
        length: int,
        seed: int = 0,
        weights: Sequence[float] = (1.0, 0.0, 0.0),
        coupled: bool = False,
        random_spacing: float = 40.0,
        random_mm: float = 15.0,
        factor: tuple[float, float] = (0.5, 1.5),
    ) -> None:
        super().__init__(scans, transform, length, seed)
        if len(weights) != 3 or min(weights) < 0 or not sum(weights) > 0:
            raise ValueError(f"weights must be three numbers of at least 0, not all of them 0, got {list(weights)}.")
        self.image = labelled["image"]
        self.label = MetaTensor(labelled["label"].as_tensor().float(), affine=labelled["label"].affine)
        self.learnt = list(learnt)
        self.shares = np.asarray(weights, float) / sum(weights)
        self.coupled = coupled
        self.random_spacing, self.random_mm = random_spacing, random_mm
        self.factor = factor

    def __getitem__(self, index: int) -> Any:
        """Episode ``index`` of the series."""
        state = np.random.RandomState(np.random.SeedSequence([self.seed, index]).generate_state(4))
        kind = int(state.choice(3, p=self.shares))
        if kind == 2:
            pair = self.random(state)
        elif kind == 1:
            pair = self.pseudo(state.randint(len(self.learnt)))
        else:
            shape = state.randint(1 + len(self.learnt))
            pair = self.synthesised(shape, shape if self.coupled else state.randint(1 + len(self.learnt)))
        self.transform.set_random_state(state=state)
        return self.transform(pair)

    def synthesised(self, shape: int, appearance: int) -> dict[str, torch.Tensor]:
        """The labelled scan in the shape of one scan, with the appearance of another; 0 is the labelled scan's own."""
        grid = Grid.of(self.volumes[shape - 1]["image"]) if shape else Grid.of(self.image)
        field = self.learnt[shape - 1].field if shape else None
        image = resample(self.image, grid, field, antialias=False).as_tensor()
        if appearance:
            image = image + resample(self.learnt[appearance - 1].change, grid, field, antialias=False).as_tensor()
        return self._pair(image, grid, field)

    def pseudo(self, scan: int) -> dict[str, torch.Tensor]:
        """An unlabelled scan, from 0, with the label that its field brings."""
        image = self.volumes[scan]["image"]
        return self._pair(image.as_tensor(), Grid.of(image), self.learnt[scan].field)

    def random(self, state: np.random.RandomState) -> dict[str, torch.Tensor]:
        """The labelled scan, randomly deformed, its intensities multiplied."""
        grid = Grid.of(self.image)
        field = random_field(grid, self.random_spacing, self.random_mm, state)
        image = resample(self.image, grid, field, antialias=False).as_tensor() * state.uniform(*self.factor)
        return self._pair(image, grid, field)

    def _pair(self, image: torch.Tensor, grid: Grid, field: DisplacementField | None) -> dict[str, torch.Tensor]:
        label = resample(self.label, grid, field, mode="nearest").as_tensor()
        return {"image": image.clamp(0, 1), "label": label}
