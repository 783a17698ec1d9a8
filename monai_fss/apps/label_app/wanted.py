# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a request asks for, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monai_fss.apps.arguments import support_slices
from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.models import ATLAS, Segmenter
from monai_fss.apps.methods.settings import device_setting, parse_settings, split_pairs
from monai_fss.apps.segment.options import prior_setting

__all__ = ["Wanted", "device_of", "extension_of", "organ_values", "pairs_of", "wanted", "words_of"]

# Settings that have a parameter of their own, or are the app's business.
RESERVED = {
    **dict.fromkeys(("bundle_root", "model"), "another model of the server"),
    **dict.fromkeys(("dataset_dir", "items"), "image"),
    **dict.fromkeys(("output_dir", "cache_dir", "masks", "overlays", "probabilities"), "monai-fss segment"),
    **dict.fromkeys(("support_image", "support_label", "displayable_configs"), "support"),
    **dict.fromkeys(("displayable_configs::support_image", "displayable_configs::support_label"), "support"),
    "labels": "organs",
    "support_slices": "support_slices",
    "prior": "prior",
    "quality": "quality",
    "device": "device",
}
_FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha")
_TYPES = ("uint8", "uint16", "int16", "int32")


@dataclass(frozen=True)
class Wanted:
    """
    A request.

    Args:
        segmenter: what segments.
        organs: names, or values, of those wanted; empty for all.
        support: names of the studies to segment by; empty for all that have a final label.
        most_alike: how many of them, those most like the query; 0 for all.
        settings: of the bundle's ``configs/inference.yaml``.
        extension: of the mask's file.
        dtype: of the mask's voxels; empty for that of `monai-fss segment`.
        in_order: whether the mask's values are 1, 2, ... in the order of ``label_names``, as 3D Slicer reads a mask.
    """

    segmenter: Segmenter
    organs: tuple[str, ...] = ()
    support: tuple[str, ...] = ()
    most_alike: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    extension: str = ".nii.gz"
    dtype: str = ""
    in_order: bool = False


def wanted(request: Mapping[str, Any], segmenter: Segmenter) -> Wanted:
    """
    Read a request of ``POST /infer``.

    Args:
        request: ``organs``, ``support`` (lists, or texts with commas), ``most_alike`` (number), ``quality`` (bool),
            ``support_slices``, ``prior``, ``preset``, ``device`` (texts), ``set`` (list of ``key=value``, or a text
            with commas); of MONAI Label ``result_extension``, ``result_dtype`` (of the mask's voxels), and
            ``restore_label_idx``: whether values are counted 1, 2, ... (3D Slicer, which does not send it, needs that,
            so it is the default where an extension is asked for; OHIF sends false).
        segmenter: the model that is asked.

    Raises:
        UsageError: with every problem.
    """
    method, problems, settings = segmenter.method, [], dict(segmenter.method.values)
    support, most = words_of(request.get("support")), request.get("most_alike") or 0
    if not method.needs_support and (support or most):
        problems.append(
            f"support: {segmenter.name} has learnt what to segment and takes no labelled study. Leave it out."
        )
    if not str(most).isdecimal():
        problems.append(f"most_alike {most!r}: is not a number of studies. Give 0 for all, or 1 and more.")
    for read in (_pairs, _device, _options, _file):
        try:
            settings |= read(request, segmenter)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(problems)
    settings["quality"] = _flag(request.get("quality", True))
    in_order = _flag(request.get("restore_label_idx", bool(request.get("result_extension"))))
    organs = tuple(words_of(request.get("organs")))
    dtype = str(request.get("result_dtype") or "")
    return Wanted(segmenter, organs, tuple(support), int(most), settings, extension_of(request), dtype, in_order)


def extension_of(request: Mapping[str, Any]) -> str:
    """The ending of the file that the parameter ``result_extension`` asks for; ``.nii.gz`` without it.

    Raises:
        UsageError: no mask is written in this format.
    """
    extension = str(request.get("result_extension") or _FORMATS[0])
    if extension not in _FORMATS:
        raise UsageError(f"result_extension {extension!r}: is not known. Choose from {', '.join(_FORMATS)}.")
    return extension


def organ_values(names: Sequence[str], organs: Mapping[str, int]) -> list[int] | None:
    """
    Label values of the organs that are wanted.

    Args:
        names: names, or values as text; none for all.
        organs: known ones, name to value.

    Returns:
        values, or None for all.

    Raises:
        UsageError: one is not known.
    """
    if not names:
        return None
    known = {**{str(value): value for value in organs.values()}, **organs}
    strange = [name for name in names if name not in known]
    if strange:
        there = ", ".join(organs) or "none, as no study has a label"
        raise UsageError(f"organs {', '.join(strange)}: not known here. Known organs: {there}.")
    return list(dict.fromkeys(known[name] for name in names))


def words_of(value: Any) -> list[str]:
    """A list of texts, or a text with commas, as a list; nothing of null."""
    if value is None:
        return []
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    return [word for word in (str(word).strip() for word in words) if word]


def pairs_of(value: Any) -> list[str]:
    """The ``key=value`` of the parameter ``set``: a list of them, or a text with commas between."""
    return [word for word in split_pairs(value) if word] if isinstance(value, str) else words_of(value)


def device_of(value: Any) -> dict[str, str]:
    """The setting of the parameter ``device``, a text; empty or null leaves the choice to the bundle.

    Raises:
        UsageError: PyTorch sees no such device.
    """
    text = str(value or "").strip().lower()
    if text in ("", "none"):
        return {}
    if text not in ("cpu", "cuda", "cuda:0"):
        raise UsageError(f"device {value!r}: is not known. Give cpu or cuda.")
    return device_setting(text.partition(":")[0])


def _pairs(request: Mapping[str, Any], segmenter: Segmenter) -> dict[str, Any]:
    method = segmenter.method
    return parse_settings(pairs_of(request.get("set")), [method.inference_file], method.reserve(RESERVED), "set ")


def _file(request: Mapping[str, Any], segmenter: Segmenter) -> dict[str, Any]:
    extension_of(request)
    if (dtype := request.get("result_dtype")) and dtype not in _TYPES:
        raise UsageError(f"result_dtype {dtype!r}: is not known. Choose from {', '.join(_TYPES)}.")
    return {}


def _device(request: Mapping[str, Any], segmenter: Segmenter) -> dict[str, Any]:
    return dict(device_of(request.get("device")))


def _options(request: Mapping[str, Any], segmenter: Segmenter) -> dict[str, Any]:
    method, found = segmenter.method, {}
    if method.is_few_shot:
        found["support_slices"] = support_slices(str(request.get("support_slices") or "middle"))
        prior = str(request.get("prior") or "none")
        if prior not in ("none", ATLAS):
            raise UsageError(f"prior {prior!r}: is not known. Give none or {ATLAS}.")
        found |= prior_setting(method, None if prior == "none" else prior)
    if preset := request.get("preset"):
        found |= parse_settings([f"preset={preset}"], [method.inference_file], None, "")
    return found


def _flag(value: Any) -> bool:
    return value.strip().lower() not in ("false", "0", "no", "") if isinstance(value, str) else bool(value)
