# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a label's name is in the coded words of DICOM."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Code", "CodedName", "coded_name"]


class Code(NamedTuple):
    """A word of SNOMED CT, in the order of pydicom's ``Code``: ``pydicom.sr.coding.Code(*code)``."""

    value: str
    scheme_designator: str
    meaning: str


# Words of a name, without its side, to code and meaning in SNOMED CT.
_STRUCTURES = {
    "aorta": ("15825003", "Aorta"),
    "bladder": ("89837001", "Bladder"),
    "brain": ("12738006", "Brain"),
    "brainstem": ("119238007", "Brain Stem"),
    "brain stem": ("119238007", "Brain Stem"),
    "colon": ("71854001", "Colon"),
    "duodenum": ("38848004", "Duodenum"),
    "adrenal": ("23451007", "Adrenal gland"),
    "adrenal gland": ("23451007", "Adrenal gland"),
    "esophagus": ("32849002", "Esophagus"),
    "oesophagus": ("32849002", "Esophagus"),
    "femur": ("71341001", "Femur"),
    "gallbladder": ("28231008", "Gallbladder"),
    "gall bladder": ("28231008", "Gallbladder"),
    "heart": ("80891009", "Heart"),
    "inferior vena cava": ("64131007", "Inferior vena cava"),
    "postcava": ("64131007", "Inferior vena cava"),
    "kidney": ("64033007", "Kidney"),
    "larynx": ("4596009", "Larynx"),
    "liver": ("10200004", "Liver"),
    "lung": ("39607008", "Lung"),
    "mandible": ("91609006", "Mandible"),
    "pancreas": ("15776009", "Pancreas"),
    "parotid": ("45289007", "Parotid gland"),
    "parotid gland": ("45289007", "Parotid gland"),
    "portal vein": ("32764006", "Portal vein"),
    "prostate": ("41216001", "Prostate"),
    "rectum": ("34402009", "Rectum"),
    "spinal cord": ("2748008", "Spinal cord"),
    "spleen": ("78961009", "Spleen"),
    "splenic vein": ("35819009", "Splenic vein"),
    "stomach": ("69695003", "Stomach"),
    "uterus": ("35039007", "Uterus"),
}
_ABNORMAL = {
    "lesion": ("52988006", "Lesion"),
    "tumor": ("108369006", "Neoplasm"),
    "tumour": ("108369006", "Neoplasm"),
}
_SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
_ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")


@dataclass(frozen=True)
class CodedName:
    """
    A name in SNOMED CT.

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
    Look up the codes of a label's name.

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
    words = re.findall(r"[a-z0-9]+", name.lower())
    sides = [word for word in words if word in _SIDES]
    plain = " ".join(word for word in words if word not in _SIDES)
    if len(sides) > 1 or plain not in _STRUCTURES | _ABNORMAL:
        return CodedName(_STRUCTURE, _STRUCTURE)
    value, meaning = (_STRUCTURES | _ABNORMAL)[plain]
    category = _ABNORMAL_STRUCTURE if plain in _ABNORMAL else _STRUCTURE
    return CodedName(category, Code(value, "SCT", meaning), _SIDES[sides[0]] if sides else None)
