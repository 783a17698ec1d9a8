# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Settings that cannot be right, alone or together: for the commands, their lists and MONAI's own command line."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from monai_fss.engines.ranges import Listed, Name, Range
from monai_fss.engines.setting_table import OF_ONE_SIZE, OF_VOLUMES, PIXELS, SETTINGS
from monai_fss.networks.nets.factory import ENCODERS, SMALLEST, TIMM

__all__ = [
    "check_settings",
    "joint_problems",
    "leaves",
    "position_problems",
    "range_of",
    "schedule_problems",
    "setting_problems",
]


def range_of(key: str, default: Any = None, known: Collection[str] = ()) -> Range | None:
    """
    What a setting of a bundle may be.

    Args:
        key: with ``::`` between levels.
        default: the bundle's own value. A bundle whose value does not fit means something else by the key.
        known: every setting of the bundle, or those that tell what it works on.

    Returns:
        the range; None where anything is taken.
    """
    if key == "encoder" and default in ENCODERS:  # of slices or of volumes, as the bundle's network is
        of_kind = ENCODERS[default]
        return Name(tuple(name for name, dims in ENCODERS.items() if dims == of_kind), TIMM if of_kind == 2 else "")
    volumes = "roi_size" in known and not OF_ONE_SIZE & {*known}
    found = (OF_VOLUMES if volumes and key in OF_VOLUMES else SETTINGS).get(key)
    if key == "size" and isinstance(default, list):
        found = Listed(PIXELS, len(default))
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
    problems, known = [], {*values, *(defaults or {})}
    for key, value in leaves(values):
        default = (defaults or {}).get(key)
        found = range_of(key, default, known)
        if found is not None and not found.fits(value):
            has = "" if default is None else f" The bundle has {default}."
            problems.append(f"{key}={_typed(value)}: is not {found}.{has}")
    return problems


def joint_problems(values: Mapping[str, Any]) -> list[str]:
    """
    Which settings do not go together.

    Args:
        values: every setting of a bundle; what is missing, or is an expression, is passed over. A part, such as
            ``coarse::rebuilt``, goes before what its mapping says.

    Returns:
        a sentence for each, as :func:`setting_problems`.
    """
    checks = (
        schedule_problems,
        position_problems,
        _size_problems,
        _floor_problems,
        _decoder_problems,
        _window_problems,
        _neighbourhood_problems,
        _stage_problems,
        _one_shot_problems,
    )
    return [problem for check in checks for problem in check(values)]


def schedule_problems(values: Mapping[str, Any]) -> list[str]:
    """Of ``steps`` that are not whole epochs: the rest would be left out without a word.

    A few-shot network, whose training has ``episodes``, may take 0: it segments by the weights that it begins with.
    """
    steps, epoch = values.get("steps"), values.get("steps_per_epoch")
    if not isinstance(steps, int) or not isinstance(epoch, int):
        return []
    if steps == 0 and "episodes" not in values:
        return ["steps=0: trains nothing, and this method learns what to segment. Give 1 or more."]
    if epoch >= 1 and steps >= 0 and steps % epoch == 0:
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


def _window_problems(values: Mapping[str, Any]) -> list[str]:
    """Of windows that a U-Net cannot halve as often as it does, from half resolution on: of methods with
    ``label_dir``, and of DataAug."""
    size, channels = values.get("roi_size"), values.get("channels")
    unet = "label_dir" in values or "synthesised" in values
    other = not unet or "neighbourhoods" in values  # OrganNet fills its windows up
    if other or not isinstance(size, (list, tuple)) or not isinstance(channels, (list, tuple)):
        return []
    factor, typed = 2 ** len(channels), _typed(size)
    if len(channels) < 3:
        return [f"channels={_typed(channels)}: are {len(channels)} levels. Give 3 or more."]
    if any(side % factor for side in size):
        return [f"roi_size={typed}: are no multiples of {factor}, by which {len(channels)} levels divide. Set such."]
    if max(size) == factor:
        return [
            f"roi_size={typed}: leaves one voxel on the last of {len(channels)} levels. Give {2 * factor} or more once."
        ]
    return []


def _neighbourhood_problems(values: Mapping[str, Any]) -> list[str]:
    """Of neighbourhoods that have no middle, or no level."""
    sizes, channels = values.get("neighbourhoods"), values.get("channels")
    if not isinstance(sizes, (list, tuple)) or not isinstance(channels, (list, tuple)):
        return []
    if any(size % 2 == 0 for size in sizes):
        return [f"neighbourhoods={_typed(sizes)}: have no middle where they are even. Give 1, 3, 5, 7, ..."]
    if len(sizes) > len(channels):
        return [f"neighbourhoods={_typed(sizes)}: are {len(sizes)} for {len(channels)} levels of channels. Set both."]
    return []


def _stage_problems(values: Mapping[str, Any]) -> list[str]:
    """Of networks of two stages whose scales do not fit together, and of fine steps that are not whole epochs."""
    problems = []
    for before in ("", "fine_"):
        filters, strides = values.get(f"{before}filters"), values.get(f"{before}strides")
        if isinstance(filters, list) and isinstance(strides, list):
            if len(filters) != len(strides):
                text = f"are {len(filters)} scales for {len(strides)} strides {_typed(strides)}. Set both."
                problems.append(f"{before}filters={_typed(filters)}: {text}")
            elif filters != sorted(filters):
                problems.append(f"{before}filters={_typed(filters)}: fall from scale to scale. Give rising numbers.")
    for key, other in (("fine_steps", "steps_per_epoch"), ("flow_steps", "flow_steps_per_epoch")):
        steps, epoch = values.get(key), values.get(other)
        if isinstance(steps, int) and isinstance(epoch, int) and epoch >= 1 and steps % epoch:
            problems.append(f"{key}={steps}: is not a multiple of {other}={epoch}. Set both.")
    return problems


def _one_shot_problems(values: Mapping[str, Any]) -> list[str]:
    """Of networks of flows that cannot be built, and of trainings for which no scan is made."""
    problems = []
    window, channels = values.get("correlation"), values.get("flow_channels")
    if isinstance(window, int) and window % 2 == 0:
        problems.append(f"correlation={window}: has no middle voxel, as it is even. Give 3, 5, 7, 9, ...")
    if isinstance(channels, list) and len(channels) % 2:
        text = "are an odd number of channels, and each level has one on its way down and one up. Set pairs."
        problems.append(f"flow_channels={_typed(channels)}: {text}")
    kinds = [values.get(key) for key in ("synthesised", "pseudo_labels", "random_flows")]
    if None not in kinds and not any(kinds):
        problems.append("synthesised=0 pseudo_labels=0 random_flows=0: leave nothing to learn from. Set one of them.")
    return problems


def _decoder_problems(values: Mapping[str, Any]) -> list[str]:
    """Of one PRNet alone whose decoder would stay as it is, though its features are compared."""
    coarse = values.get("coarse")
    if "fine" not in values or values["fine"] is not None or not isinstance(coarse, Mapping):
        return []
    if values.get("coarse::rebuilt", coarse.get("rebuilt", 1)):  # inference does not know it
        return []
    return ["fine=null: leaves one network, whose features coarse::rebuilt=0 does not train. Set both."]


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
