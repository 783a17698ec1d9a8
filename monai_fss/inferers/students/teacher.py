# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a student can learn of a scan without a label: the mask of an atlas, and the labelled scan dressed as it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import CropForeground
from skimage.exposure import match_histograms

from monai_fss.data import DOUBT, InputWarning
from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.labelled import seen
from monai_fss.inferers.scans import scan_name
from monai_fss.inferers.students.intermediates import Intermediates
from monai_fss.inferers.two_stage.priors import packed_atlases
from monai_fss.registration.body import BODY, RegistrationError, body_grid
from monai_fss.registration.grid import Grid, default_spacing
from monai_fss.registration.refinement import winners
from monai_fss.registration.resample import inside, resample

__all__ = ["Teacher", "agreed_label", "dressed_as", "own_frame", "remembered_scan"]


class Teacher:
    """
    Teach by an unlabelled scan what a labelled one, registered to it, says of it.

    Args:
        atlas: of one labelled scan.
        second: arguments of :func:`monai_fss.registration.register` of a second opinion: where the masks by both
            differ, nothing is taught. Default None: there is none.
    """

    def __init__(self, atlas: Atlas, second: Mapping[str, Any] | None = None) -> None:
        if len(atlas.scans) != 1:
            raise ValueError(f"the atlas has {len(atlas.scans)} labelled scans; give one.")
        self.atlas = atlas
        self.second = None if second is None else dict(second)

    def __call__(self, query: MetaTensor, evidence: MetaTensor | None = None) -> dict[str, Any] | None:
        """
        Teach by a scan.

        Args:
            query: (1, H, W, D), scaled to 0..1.
            evidence: log-odds of a student, see :class:`monai_fss.inferers.Atlas`.

        Returns:
            see :func:`monai_fss.data.save_taught_scan`, on the atlas's grid around the body; None where the labelled
            scan cannot be registered, in one of the two ways, which is warned of.
        """
        placed, _ = self.atlas.placed(query)
        if not placed:
            return None
        grid = self.atlas.grid(query)
        image = resample(query, grid)
        fixed = image.as_tensor()[0].numpy()
        places = [placed]
        if self.second is not None:
            scan = placed[0][0]
            try:
                places.append([(scan, self.atlas.field(query, scan.image, self.second))])
            except RegistrationError as error:
                text = f"{scan_name(query)}: is not learnt from, as the second registration fails: {error}"
                warnings.warn(text, InputWarning, stacklevel=2)
                return None
        names = _names(self.atlas.values)
        maps = [names[winners(self.atlas.decide(fixed, grid, one, evidence)[0])] for one in places]
        dressed, own = dressed_as(fixed, grid, placed[0], self.atlas.values)
        made = {
            "label": agreed_label(maps),
            "mask": maps[0],
            "second": maps[-1],
            "synthesised_image": dressed,
            "synthesised_label": own,
        }
        affine = torch.from_numpy(grid.affine)
        return {
            "image": image,
            **{key: MetaTensor(torch.from_numpy(value)[None], affine=affine) for key, value in made.items()},
            "to_labelled": torch.from_numpy(own_frame(placed[0])),
        }

    def again(
        self,
        query: MetaTensor,
        taught: Mapping[str, Any],
        intermediates: Intermediates,
        others: Sequence[Mapping[str, MetaTensor]],
    ) -> dict[str, Any]:
        """
        Teach by a scan once more, when others of the folder have masks.

        Args:
            query: (1, H, W, D), scaled to 0..1.
            taught: what a call gave of it.
            intermediates: the way.
            others: see :class:`Intermediates`.

        Returns:
            the same with another ``label``: large organs by way of the others, and without doubt, since these have
            voted; the rest as it was.
        """
        probabilities = intermediates(query, self.atlas.placed(query)[0], others)
        label = _names(self.atlas.values)[winners(probabilities)]
        small = [value for value, large in zip(self.atlas.values, intermediates.large, strict=True) if not large]
        first, second = (taught[key].as_tensor()[0].numpy() for key in ("mask", "second"))
        doubt = (first != second) & (np.isin(first, small) | np.isin(second, small))
        label = np.where(doubt, np.int32(DOUBT), label)
        return {**taught, "label": MetaTensor(torch.from_numpy(label)[None], affine=taught["label"].affine)}

    def own(self) -> dict[str, Any]:
        """The labelled scan itself, as a scan that is taught by, with its exact label."""
        scan = self.atlas.scans[0]
        grid = self.atlas.grid(scan.image)
        label = _names(self.atlas.values)[winners(scan.masks(self.atlas.values, grid))]
        affine = torch.from_numpy(grid.affine)
        return {
            "image": resample(scan.image, grid),
            "label": MetaTensor(torch.from_numpy(label)[None], affine=affine),
            "to_labelled": torch.from_numpy(scan.frame()),
        }


def own_frame(placed: Placed) -> np.ndarray:
    """(4, 4), from the world of a scan to coordinates of the labelled one (:meth:`LabelledScan.frame`), by the affine
    part of its registration. All of the registration would say which organ is where."""
    scan, field = placed
    return scan.frame() @ field.affine_part()


def remembered_scan(scan: Mapping[str, MetaTensor], spacing: Sequence[float] | None = None) -> dict[str, torch.Tensor]:
    """
    A labelled scan as tensors that go into a file of weights: the image as fine as registration sees it, the label as
    it is, cut to its organs.

    Args:
        scan: ``image`` and ``label`` (1, H, W, D), the image scaled to 0..1.
        spacing: mm of the atlas's grid. Default: :func:`monai_fss.registration.default_spacing`.

    Returns:
        see :func:`monai_fss.inferers.two_stage.priors.packed_atlases`.
    """
    step = tuple(spacing or default_spacing(body_grid(seen(scan["image"]))))
    label = CropForeground(margin=1, allow_smaller=True)(scan["label"])
    return packed_atlases([{"image": scan["image"][:1], "label": label}], step)


def _names(values: Sequence[int]) -> np.ndarray:
    """Label values by the number of the way, the background's last."""
    return np.array([*values, 0], np.int32)


def agreed_label(maps: Sequence[np.ndarray]) -> np.ndarray:
    """
    One label map of several (h, w, d), int32: :data:`DOUBT` where they differ.

    An organ on which they do not agree at all is in doubt wherever one of them sees it.
    """
    same = np.all([one == maps[0] for one in maps], axis=0)
    return np.where(same, maps[0], np.int32(DOUBT))


def dressed_as(fixed: np.ndarray, grid: Grid, placed: Placed, values: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """
    A labelled scan moved to another one, in that one's intensities.

    Args:
        fixed: the other scan on the grid, (h, w, d), 0..1.
        grid: where.
        placed: the labelled scan and its registration.
        values: of the labels that are wanted.

    Returns:
        image (h, w, d), float32: within the body the histogram is the other scan's; label (h, w, d), int32, exact;
        :data:`DOUBT` where the labelled scan shows nothing.
    """
    scan, field = placed
    image = resample(scan.image, grid, field).as_tensor()[0].numpy()
    shown = inside(scan.image, grid, field).numpy()
    own, other = shown & (image > BODY), fixed > BODY
    dressed = np.where(shown, image, 0).astype(np.float32)
    if own.any() and other.any():
        dressed[own] = match_histograms(image[own], fixed[other])
    label = _names(values)[winners(scan.masks(values, grid, field))]
    return dressed, np.where(shown, label, np.int32(DOUBT))
