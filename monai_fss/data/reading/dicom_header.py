# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the header of one DICOM file says, read through ITK: as the voxels are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Header", "read_header"]

_TAGS = (
    "0008|0021",  # series date
    "0008|0060",  # modality
    "0018|0024",  # sequence name
    "0018|0050",  # slice thickness
    "0018|0088",  # spacing between slices
    "0020|000e",  # series instance UID
    "0020|0011",  # series number
    "0020|0032",  # image position (patient)
    "0020|0037",  # image orientation (patient)
    "0020|0052",  # frame of reference UID
    "0028|0004",  # photometric interpretation
    "0028|0008",  # number of frames
    "0028|0010",  # rows
    "0028|0011",  # columns
    "0028|0030",  # pixel spacing
    "0028|1052",  # rescale intercept
    "0028|1053",  # rescale slope
)
_TYPES = {
    "unsigned_char": np.uint8,
    "char": np.int8,
    "unsigned_short": np.uint16,
    "short": np.int16,
    "unsigned_int": np.uint32,
    "int": np.int32,
    "float": np.float32,
    "double": np.float64,
}


@dataclass(frozen=True, eq=False)
class Header:
    """
    The part of a DICOM header that decides where a slice lies and what its values are.

    Args:
        file: the file.
        tags: ``"gggg|eeee"`` to text, of those that are there.
        dtype: voxel type after slope and intercept, as ITK chooses it for this file.
        components: values per voxel.
        frames: images in the file.
        rescaling: slope and intercept that ITK applies.
    """

    file: Path
    tags: Mapping[str, str]
    dtype: np.dtype
    components: int
    frames: int
    rescaling: tuple[float, float]

    def text(self, tag: str) -> str:
        """The value of a tag without padding; empty where there is none."""
        return self.tags.get(tag, "")

    def numbers(self, tag: str) -> tuple[float, ...]:
        """The numbers of a tag; none where it is missing, or is not made of finite numbers."""
        try:
            values = tuple(float(part) for part in self.text(tag).split("\\"))
        except ValueError:
            return ()
        return values if np.isfinite(values).all() else ()

    def comparable(self, tag: str) -> tuple[float, ...] | str:
        """What to compare of a tag: its numbers, to three decimals ("1.0" is "1.00000"), else its text."""
        return tuple(round(value, 3) for value in self.numbers(tag)) or self.text(tag)


def read_header(file: Path) -> Header:
    """
    Read the header of a file that GDCM has listed in a series.

    Args:
        file: one DICOM file.

    Returns:
        what it says.
    """
    import itk

    image: Any = itk.GDCMImageIO.New()
    image.SetFileName(str(file))
    image.ReadImageInformation()
    tags = image.GetMetaDataDictionary()
    frames = [image.GetDimensions(axis) for axis in range(2, image.GetNumberOfDimensions())]
    kept = {tag: tags[tag].strip(" \0") for tag in _TAGS if tags.HasKey(tag)}
    count = kept.get("0028|0008", "1")
    return Header(
        file=file,
        tags=kept,
        dtype=np.dtype(_TYPES.get(image.GetComponentTypeAsString(image.GetComponentType()), np.float64)),
        components=image.GetNumberOfComponents(),
        frames=max(*frames, int(count) if count.isdecimal() else 1, 1),
        rescaling=(image.GetRescaleSlope(), image.GetRescaleIntercept()),
    )
