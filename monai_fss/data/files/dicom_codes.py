# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a label's name is in the coded words of DICOM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

__all__ = ["CodedName", "coded_name"]

# Words of a name, without its side, to the keyword of pydicom's dictionary of SNOMED CT.
_STRUCTURES = {
    "aorta": "Aorta",
    "bladder": "Bladder",
    "brain": "Brain",
    "brainstem": "BrainStem",
    "brain stem": "BrainStem",
    "colon": "Colon",
    "duodenum": "Duodenum",
    "adrenal": "AdrenalGland",
    "adrenal gland": "AdrenalGland",
    "esophagus": "Esophagus",
    "oesophagus": "Esophagus",
    "femur": "Femur",
    "gallbladder": "Gallbladder",
    "gall bladder": "Gallbladder",
    "heart": "Heart",
    "inferior vena cava": "InferiorVenaCava",
    "postcava": "InferiorVenaCava",
    "kidney": "Kidney",
    "larynx": "Larynx",
    "liver": "Liver",
    "lung": "Lung",
    "mandible": "Mandible",
    "pancreas": "Pancreas",
    "parotid": "ParotidGland",
    "parotid gland": "ParotidGland",
    "portal vein": "PortalVein",
    "prostate": "Prostate",
    "rectum": "Rectum",
    "spinal cord": "SpinalCord",
    "spleen": "Spleen",
    "splenic vein": "SplenicVein",
    "stomach": "Stomach",
    "uterus": "Uterus",
}
_ABNORMAL = {"lesion": "Lesion", "tumor": "Neoplasm", "tumour": "Neoplasm"}
_SIDES = {"left": "Left", "right": "Right"}


@dataclass(frozen=True)
class CodedName:
    """
    A name in SNOMED CT, by pydicom's codes.

    Args:
        category: anatomical structure, or morphologically abnormal structure.
        type: the organ or finding; an anatomical structure for names that are not known.
        side: left or right, or None.
    """

    category: Code
    type: Code
    side: Code | None = None


def coded_name(name: str) -> CodedName:
    """
    Look up the codes of a label's name. (Needs pydicom.)

    Known are common organs of abdomen, chest, head and neck, and lesion and tumour, with a side before or after them;
    case, underscores and hyphens do not matter. Every other name is an anatomical structure of no further kind, never
    the nearest that is known: its own name stands in the segment's label.

    Args:
        name: such as ``"right_kidney"`` or ``"Kidney, left"``.

    Returns:
        its codes.

    Example::

        coded_name("right_kidney").type  # value 64033007, meaning "Kidney"
    """
    from pydicom.sr.codedict import codes

    words = re.findall(r"[a-z0-9]+", name.lower())
    sides = [word for word in words if word in _SIDES]
    plain = " ".join(word for word in words if word not in _SIDES)
    structure = codes.SCT.AnatomicalStructure
    if len(sides) > 1 or plain not in _STRUCTURES | _ABNORMAL:
        return CodedName(structure, structure)
    side = getattr(codes.SCT, _SIDES[sides[0]]) if sides else None
    if plain in _ABNORMAL:
        return CodedName(codes.SCT.MorphologicallyAbnormalStructure, getattr(codes.SCT, _ABNORMAL[plain]), side)
    return CodedName(structure, getattr(codes.SCT, _STRUCTURES[plain]), side)
