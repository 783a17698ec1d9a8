# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Unlabelled scans on the grid of a labelled one, and the displacements between them."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from monai_fss.data import ContentCache, InputWarning, PreparedScans, ScanError, case_name
from monai_fss.inferers.atlas import Atlas
from monai_fss.inferers.labelled import seen
from monai_fss.registration.body import RegistrationError
from monai_fss.registration.field import DisplacementField
from monai_fss.registration.grid import Grid
from monai_fss.registration.resample import resample

__all__ = ["FLOWS", "AlignScan", "AlignedScans", "field_of_flow", "filled_grid", "flow_of_field", "label_contours"]

FLOWS = ("network", "convex_adam")
"""Where displacements come from: a network that learns them, or the registration of the package."""


def filled_grid(grid: Grid, multiple: int) -> Grid:
    """A grid whose sides are multiples of a number, larger at the far ends."""
    h, w, d = (-(-side // multiple) * multiple for side in grid.shape)
    return Grid((h, w, d), grid.affine)


def field_of_flow(flow: torch.Tensor, grid: Grid, matrix: np.ndarray, own: Grid) -> DisplacementField:
    """Where each point of a scan lies in the labelled scan: its affine map, then the flow.

    Args:
        flow: (3, h, w, d), voxels of ``grid``.
        grid: in the labelled scan's world.
        matrix: (4, 4), scan's mm to labelled scan's mm.
        own: grid of the scan, on which the field is wanted.
    """
    voxels = torch.as_tensor(grid.affine[:3, :3], dtype=torch.float32)
    there = DisplacementField(torch.tensordot(voxels, flow.float().cpu(), 1), torch.from_numpy(grid.affine))
    aligned = DisplacementField.from_affine(matrix, own).data
    moved = there.at(own.points() + aligned.movedim(0, -1)).movedim(-1, 0)
    return DisplacementField(aligned + moved, torch.from_numpy(own.affine))


def flow_of_field(field: DisplacementField, grid: Grid, before: np.ndarray, after: np.ndarray) -> torch.Tensor:
    """A field between the worlds of two scans as displacements, voxels, on one grid: the inverse of the above.

    Args:
        field: from a fixed scan's world to a moving scan's.
        grid: where the flow is wanted.
        before: (4, 4), mm of the grid's world to mm of the fixed scan's.
        after: (4, 4), mm of the moving scan's world to mm of the grid's.

    Returns:
        (3, h, w, d).
    """
    points = grid.points().double()
    there = field.map(_mapped(points, before))
    shift = _mapped(there, after) - points
    voxels = torch.as_tensor(np.linalg.inv(grid.affine[:3, :3]))
    return (shift @ voxels.T).movedim(-1, 0).float()


def label_contours(label: torch.Tensor) -> torch.Tensor:
    """1 where a voxel of a label map (1, h, w, d) has a neighbour across a face of another value, else 0 (float32)."""
    found = torch.zeros(label.shape, dtype=torch.bool)
    for axis in (1, 2, 3):
        count = label.shape[axis] - 1
        change = label.narrow(axis, 1, count) != label.narrow(axis, 0, count)
        for start in (0, 1):
            found.narrow(axis, start, count).logical_or_(change)
    return found.float()


class AlignScan(Transform):
    """From an unlabelled scan to the same on the grid of the labelled one, affinely registered.

    Args:
        labelled: item of the labelled scan: the files ``image`` and ``label``.
        prepare: from an item to the image on its own grid, scaled to 0..1, such as
            :class:`monai_fss.data.PrepareVolumes`.
        values: label values that are learnt.
        spacing: of the grid, mm along each axis.
        multiple: by which the sides of the grid divide. Default 16.
        flows: one of :data:`FLOWS`. "convex_adam" registers deformably, there and back. Default "network": affinely.
        registration: arguments of :func:`monai_fss.registration.register` but the method.
        cache_dir: folder in which registrations are kept, by content. Default: none are kept.

    An item has the file ``image``. Returned are plain tensors: ``image`` (1, h, w, d); ``matrix`` (4, 4), mm of the
    scan's world to mm of the labelled scan's; of "convex_adam" also ``flow`` and ``back`` (3, h, w, d), voxels: where a
    point of ``image`` lies in the labelled scan, and a point of that in ``image``. Where the two cannot be registered
    there is ``problem`` alone, which says why.
    """

    def __init__(
        self,
        labelled: Mapping[str, Any],
        prepare: Any,
        values: Sequence[int],
        spacing: float,
        multiple: int = 16,
        flows: str = "network",
        registration: Mapping[str, Any] | None = None,
        cache_dir: str | None = None,
    ) -> None:
        if flows not in FLOWS:
            raise ValueError(f"flows must be one of {', '.join(FLOWS)}, got '{flows}'.")
        self.labelled = dict(labelled)
        self.prepare = prepare
        self.values = [int(value) for value in values]
        self.spacing = float(spacing)
        self.multiple = multiple
        self.flows = flows
        self.registration = dict(registration or {})
        self.cache_dir = cache_dir
        self._atlas: Atlas | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What results depend on, by which kept ones are known; the labelled scan is read again."""
        return {**self.__dict__, "_atlas": None, "cache_dir": None}

    @property
    def atlas(self) -> Atlas:
        """The labelled scan, as registration sees it."""
        if self._atlas is None:
            self._atlas = Atlas(
                [self.prepare.labelled()({key: self.labelled[key] for key in ("image", "label")})],
                self.values,
                [self.spacing] * 3,
                refinement=None,
                registration={"method": "affine" if self.flows == "network" else "deformable", **self.registration},
                cache=ContentCache(self.cache_dir) if self.cache_dir else None,
                sides=False,
            )
        return self._atlas

    @property
    def grid(self) -> Grid:
        """The grid around the labelled scan's body."""
        return filled_grid(self.atlas.grid(self.atlas.scans[0].image), self.multiple)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        """Align one scan."""
        atlas, grid = self.atlas, self.grid
        known = atlas.scans[0].image
        scan = seen(self.prepare({"image": data["image"]})["image"])
        try:
            there = atlas.field(scan, known)
            back = atlas.field(known, scan) if self.flows == "convex_adam" else None
        except RegistrationError as error:
            return {"problem": str(error)}
        matrix = there.affine_part()
        inverse = np.linalg.inv(matrix)
        found = {"image": resample(scan, grid, inverse).as_tensor(), "matrix": torch.from_numpy(matrix)}
        if back is not None:
            found["flow"] = flow_of_field(there, grid, inverse, np.eye(4))
            found["back"] = flow_of_field(back, grid, np.eye(4), matrix)
        return found


class AlignedScans(Sequence):
    """Unlabelled scans on the grid of the labelled one, each with that beside it.

    Args:
        items: data list of the unlabelled scans. Those that cannot be registered are left out.
        align: how a scan is aligned.
        cache_dir, cache_num: see :class:`monai_fss.data.PreparedScans`.

    An item is what :class:`AlignScan` gives, ``labelled`` (1, h, w, d) and ``contours`` (1, h, w, d), see
    :func:`label_contours`.

    Raises:
        ScanError: none can be registered.

    Warns:
        InputWarning: of each that cannot.

    Attributes:
        items: of those that are there, in the order of the sequence.
        grid: of all.
        image, label: of the labelled scan, (1, h, w, d); the label has class numbers from 1 (uint8).
        masks: of its classes, (W, h, w, d), 0..1.
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        align: AlignScan,
        cache_dir: str | None = None,
        cache_num: int = 64,
    ) -> None:
        self.grid = align.grid
        scan = align.atlas.scans[0]
        self.image = resample(scan.image, self.grid).as_tensor()
        self.masks = torch.from_numpy(scan.masks(align.values, self.grid))
        best = self.masks.max(0)
        self.label = ((best.indices + 1) * (best.values > 0.5)).to(torch.uint8)[None]
        self.contours = label_contours(self.label)
        self.scans = PreparedScans(items, align, cache_dir, cache_num)
        problems = [self.scans[number].get("problem") for number in range(len(items))]
        for item, problem in zip(items, problems, strict=True):
            if problem is not None:
                text = f"{case_name(item['image'])}: is not learnt from, as it cannot be registered: {problem}"
                warnings.warn(text, InputWarning, stacklevel=2)
        self._kept = [number for number, problem in enumerate(problems) if problem is None]
        if not self._kept:
            raise ScanError(f"{align.labelled['image']}: no other scan can be registered to it: {problems[0]}")
        self.items = [dict(items[number]) for number in self._kept]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept)

    def __getitem__(self, index: Any) -> Any:
        """One of them."""
        return {**self.scans[self._kept[index]], "labelled": self.image, "contours": self.contours}


def _mapped(points: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """Points (..., 3) by a matrix (4, 4)."""
    whole = torch.as_tensor(matrix, dtype=points.dtype)
    return points @ whole[:3, :3].T + whole[:3, 3]
