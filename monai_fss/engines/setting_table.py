# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the settings of the bundles may be: one table for the commands, their help and MONAI's own command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from monai_fss.engines.ranges import Either, Listed, Name, Null, Number, Range, Switch, Text
from monai_fss.inferers.atlas import FUSIONS
from monai_fss.networks.nets.factory import ENCODERS, SMALLEST
from monai_fss.registration.register import PRESETS
from monai_fss.transforms.supervoxels import SELF_SUPERVISIONS

__all__ = [
    "FREE",
    "SETTINGS",
    "check_settings",
    "joint_problems",
    "leaves",
    "position_problems",
    "range_of",
    "schedule_problems",
    "setting_problems",
]

NUMBER, POSITIVE, NOT_NEGATIVE, SHARE = Number(), Number(above=0), Number(least=0), Number(least=0, most=1)
COUNT, COUNT_OR_NONE = Number(least=1, whole=True), Number(least=0, whole=True)
MM = Number(above=0, most=1000)
NULL, SWITCH = Null(), Switch()


def _or_null(one: Range) -> Either:
    return Either([one, NULL])


def _three(one: Range) -> Listed:
    return Listed(one, 3)


VALUES = Listed(COUNT, distinct=True)
PAIR = Listed(NUMBER, 2, rising=True)
STRETCH = Listed(Number(above=-1), 2)  # by which 1 is changed

_RUN: dict[str, Range] = {
    "amp": SWITCH,
    "batch_size": COUNT,
    "cache_num": COUNT_OR_NONE,
    "deterministic": SWITCH,
    "epoch_length": COUNT,
    "first": SWITCH,
    "learning_rate": POSITIVE,
    "max_epochs": COUNT,
    "num_workers": COUNT_OR_NONE,
    "resume": SWITCH,
    "save_interval": COUNT,
    "seed": Number(least=0, most=2**32 - 1, whole=True),
    "steps": COUNT,
    "steps_per_epoch": COUNT,
    "tensorboard": SWITCH,
    "val_interval": COUNT,
    "val_queries": COUNT_OR_NONE,
}
_SCANS: dict[str, Range] = {
    "labels": _or_null(VALUES),
    "pixdim": MM,
    "position_axes": Listed(Number(least=0, most=2, whole=True), distinct=True),
    "position_weights": Listed(NOT_NEGATIVE),
    "window": _or_null(PAIR),
    "zscore": SWITCH,
}
_EPISODES: dict[str, Range] = {
    "affine::rotate": _three(NUMBER),
    "affine::scale": _three(STRETCH),
    "affine::shear": Listed(NUMBER, 6),
    "affine::translate": _three(NUMBER),
    "contrast_factor": Number(above=1),
    "contrast_prob": SHARE,
    "elastic::magnitude": Listed(NOT_NEGATIVE, 2),
    "elastic::rotate": NUMBER,
    "elastic::scale": Listed(STRETCH, 2),
    "elastic::shear": Listed(NUMBER, 2),
    "elastic::spacing": Listed(COUNT, 2),
    "elastic::translate": Listed(NUMBER, 2),
    "min_area": NOT_NEGATIVE,
    "min_volume": NOT_NEGATIVE,
    "position_jitter": NOT_NEGATIVE,
    "reach": COUNT_OR_NONE,
    "self_supervision": Name(SELF_SUPERVISIONS),
    "sides": Listed(NOT_NEGATIVE, 2),
    "size": Listed(COUNT, least=2),
    "superpixel_mm2": POSITIVE,
    "superpixels": SWITCH,
    "supervoxel_ml": POSITIVE,
}
_NETWORKS: dict[str, Range] = {
    "align": NOT_NEGATIVE,
    "alp_cell_mm": POSITIVE,
    "alp_train_cell_mm": POSITIVE,
    "blocks": COUNT_OR_NONE,
    "branches": Number(least=1, most=2, whole=True),
    "cell_mm": POSITIVE,
    "checkpointing": SWITCH,
    "compact": NOT_NEGATIVE,
    "encoder": Name(tuple(ENCODERS)),
    "kappa": POSITIVE,
    "refined": SWITCH,
    "support_window": _three(COUNT),
}
_PRNET: dict[str, Range] = {
    "background": _or_null(COUNT),
    "base": COUNT,
    "bfloat16": _or_null(SWITCH),
    "channels": Listed(COUNT, least=2),
    "correct": SWITCH,
    "decay": Number(above=0, most=1),
    "delta": SHARE,
    "floor": SHARE,
    "grown": SHARE,
    "growth::intensity_weight": NOT_NEGATIVE,
    "growth::iterations": COUNT_OR_NONE,
    "growth::limit": NOT_NEGATIVE,
    "keep": _three(Number(above=0, most=1)),
    "least_similarity": Number(most=1),
    "margin": NOT_NEGATIVE,
    "patches": Number(least=2, whole=True),
    "points": COUNT,
    "pretrain_steps_per_epoch": COUNT,
    "roi_size": _three(COUNT),
    "simulated::margin": NOT_NEGATIVE,
    "simulated::slices": COUNT,
    "smooth": NOT_NEGATIVE,
    "start_epoch": COUNT_OR_NONE,
    "tau": Number(most=1),
    "tolerance": SHARE,
    "values": VALUES,
}
_LEVEL: dict[str, Range] = {  # of coarse and of fine
    "patch_size": _three(COUNT),
    "pixdim": MM,
    "radius": _or_null(POSITIVE),
    "reach": _three(POSITIVE),
    "rebuilt": COUNT_OR_NONE,
    "steps": COUNT,
}
_USE: dict[str, Range] = {
    "fusion": Name(FUSIONS),
    "largest_component": SWITCH,
    "masks": SWITCH,
    "nearest": _or_null(COUNT),
    "overlap": Number(least=0, below=1),
    "overlays": SWITCH,
    "preset": Name(tuple(PRESETS)),
    "prior": Either([Name(("atlas",)), NULL]),
    "prior_weight": NOT_NEGATIVE,
    "probabilities": SWITCH,
    "quality": SWITCH,
    "refine": SWITCH,
    "refinement::cap": POSITIVE,
    "refinement::limit": _or_null(POSITIVE),
    "refinement::rounds": COUNT,
    "refinement::smooth": NOT_NEGATIVE,
    "refinement::tau": POSITIVE,
    "refinement::zone": POSITIVE,
    "slices_per_batch": COUNT,
    "spacing": _or_null(_three(MM)),
    "starts": _or_null(Number(least=1, most=100, whole=True)),
    "support_slices": Either([Name(("middle", "all")), COUNT]),
}
_LEVELS = {f"{level}::{key}": one for level in ("coarse", "fine") for key, one in _LEVEL.items()}
SETTINGS: dict[str, Range] = {**_RUN, **_SCANS, **_EPISODES, **_NETWORKS, **_PRNET, **_LEVELS, **_USE}
"""Key, with ``::`` between levels, to what it may be. A bundle that has a key has it with this meaning."""

_PLACES = ("bundle_root", "cache_dir", "checkpoint_dir", "dataset_dir", "log_dir", "model", "output_dir", "pretrained")
FREE: dict[str, Range] = {
    **dict.fromkeys(_PLACES, Text()),
    **dict.fromkeys(("prnet", "scribbles", "support", "support_image", "support_label"), Text()),
    "cases": Listed(Text()),
    "class_names": Listed(Text()),
    "device": Text(),
    # judged where it is known what they go with, see monai_fss.data.left_out_classes
    "setting": Number(least=1, most=2, whole=True),
    "test_classes": VALUES,
}
"""Settings that are places or names of things, which are looked for, or are judged elsewhere: not by the table."""


def range_of(key: str, default: Any = None) -> Range | None:
    """
    What a setting of a bundle may be.

    Args:
        key: with ``::`` between levels.
        default: the bundle's own value. A bundle whose value does not fit means something else by the key.

    Returns:
        the range; None where anything is taken.
    """
    if key == "encoder" and default in ENCODERS:  # of slices or of volumes, as the bundle's network is
        return Name(tuple(name for name, dims in ENCODERS.items() if dims == ENCODERS[default]))
    found = SETTINGS.get(key)
    if key == "size" and isinstance(default, list):
        found = Listed(COUNT, len(default))
    plain = default is not None and not (isinstance(default, str) and default.startswith(("$", "@", "%")))
    return None if found is None or (plain and not found.fits(default)) else found


def setting_problems(values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> list[str]:
    """
    Which settings have a value that cannot be right.

    Args:
        values: key to value; of a mapping each entry is judged.
        defaults: the bundle's own values, see :func:`range_of`. Default: not known.

    Returns:
        a sentence for each, ``<key>=<value>: <what is wrong>. <the bundle's value>.``
    """
    problems = []
    for key, value in leaves(values):
        default = (defaults or {}).get(key)
        found = range_of(key, default)
        if found is not None and not found.fits(value):
            has = "" if default is None else f" The bundle has {default}."
            problems.append(f"{key}={_typed(value)}: is not {found}.{has}")
    return problems


def joint_problems(values: Mapping[str, Any]) -> list[str]:
    """
    Which settings do not go together.

    Args:
        values: every setting of a bundle; what is missing, or is an expression, is passed over.

    Returns:
        a sentence for each, as :func:`setting_problems`.
    """
    return [*schedule_problems(values), *position_problems(values), *_size_problems(values), *_floor_problems(values)]


def schedule_problems(values: Mapping[str, Any]) -> list[str]:
    """Of ``steps`` that are not whole epochs: the rest would be left out without a word."""
    steps, epoch = values.get("steps"), values.get("steps_per_epoch")
    if not isinstance(steps, int) or not isinstance(epoch, int):
        return []
    if epoch >= 1 and steps >= 1 and steps % epoch == 0:
        return []
    return [
        f"steps={steps}: is not a multiple of steps_per_epoch={epoch}. Set both, for example steps={max(steps, 1)} "
        f"steps_per_epoch={max(steps, 1)}."
    ]


def position_problems(values: Mapping[str, Any]) -> list[str]:
    """Of coordinates without a weight, and weights without a coordinate."""
    axes, weights = values.get("position_axes"), values.get("position_weights")
    if not isinstance(axes, list) or not isinstance(weights, list) or len(axes) == len(weights):
        return []
    return [f"position_axes={axes}: are {len(axes)} axes for {len(weights)} position_weights={weights}. Set both."]


def check_settings(**values: Any) -> None:
    """
    End the program with exit code 2 where a setting cannot be right; for the ``initialize`` part of a bundle.

    Args:
        values: settings by name. ``settings`` stands for those in it.

    Raises:
        SystemExit: 2, after the problems have been printed, a line each.

    Example::

        initialize:
        - {_target_: monai_fss.engines.check_settings, settings: "@settings", steps: "@steps"}
    """
    every = {**values.pop("settings", {}), **values}
    problems = setting_problems(every) or joint_problems(every)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit(2)


def _size_problems(values: Mapping[str, Any]) -> list[str]:
    """Of training windows that the encoder cannot take."""
    size, encoder = values.get("size"), values.get("encoder")
    if not isinstance(size, (list, tuple)) or encoder not in ENCODERS or not SETTINGS["size"].fits(size):
        return []
    dims, least = ENCODERS[encoder], SMALLEST[encoder]
    if len(size) != dims:
        return [f"size={_typed(size)}: has {len(size)} entries, and encoder={encoder} takes {dims}. Give {dims}."]
    if min(size[:2]) < least:
        return [f"size={_typed(size)}: is less than the {least} x {least} pixels of encoder={encoder}. Give more."]
    return []


def _floor_problems(values: Mapping[str, Any]) -> list[str]:
    delta, floor = values.get("delta"), values.get("floor")
    if not isinstance(delta, (int, float)) or not isinstance(floor, (int, float)) or floor <= delta:
        return []
    return [f"floor={floor}: is more than delta={delta}, from which it falls. Set both."]


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Key, with ``::`` between levels, and value of all that is no mapping."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}::")
        else:
            yield f"{path}{key}", value


def _typed(value: Any) -> str:
    """A value as it is typed: 0.1, true, null, [1,2]."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    return str(value).replace(" ", "") if isinstance(value, (list, tuple)) else str(value)
