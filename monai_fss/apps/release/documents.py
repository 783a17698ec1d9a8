# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a released bundle says of its model: metadata and the page in docs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import monai_fss
from monai_fss.results import Results
from monai_fss.results.tables import format_results

__all__ = ["About", "metadata_text", "readme_text"]


@dataclass(frozen=True)
class About:
    """
    What is said of a model.

    Args:
        bundle: that trained it.
        settings: of its file.
        version: of the release.
        changes: what is new in it.
        notes: on what it was trained, and what it is worth: Markdown.
        results: its own measured figures. None: it has not been measured.
        run: the note of its training (run.json); empty where there is none.
    """

    bundle: str
    settings: Mapping[str, Any]
    version: str
    changes: str
    notes: str
    results: Results | None
    run: Mapping[str, Any]


def metadata_text(source: Path, about: About) -> str:
    """The bundle's metadata with the version, and with the channels of this model's network."""
    metadata = json.loads(source.read_text(encoding="utf-8"))
    metadata["version"] = about.version
    before = metadata["changelog"].get(about.version)
    changes = f"{before}; {about.changes}" if before and about.changes else before or about.changes
    metadata["changelog"] = {**metadata["changelog"], about.version: changes}
    metadata["required_packages_version"]["monai_fss"] = monai_fss.__version__
    formats = metadata["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    if "position_axes" in about.settings:
        image["channel_def"] = _inputs(image["channel_def"], about.settings["position_axes"])
        image["num_channels"] = len(image["channel_def"])
    if "values" in about.settings:
        names = about.settings.get("class_names") or [f"label_{value}" for value in about.settings["values"]]
        organs = zip(about.settings["values"], names, strict=True)  # by label value: what MONAI Label shows a mask by
        pred["channel_def"] = {"0": "background", **{str(value): str(name) for value, name in organs}}
        pred["num_channels"] = len(pred["channel_def"])
        shape = "roi_size" if "roi_size" in about.settings else "grid_size"
        image["spatial_shape"] = pred["spatial_shape"] = list(about.settings[shape])
    return json.dumps(metadata, indent=4, ensure_ascii=False) + "\n"


def readme_text(source: Path, about: About) -> str:
    """The bundle's page with a part on this model before the others."""
    text = source.read_text(encoding="utf-8")
    return f"{_this_model(about)}\n{text}"


def _inputs(channels: Mapping[str, str], axes: list[int]) -> dict[str, str]:
    places = [channels[str(1 + axis)] for axis in axes if str(1 + axis) in channels]
    return {str(number): name for number, name in enumerate([channels["0"], *places])}


def _this_model(about: About) -> str:
    settings = "\n".join(
        f"| {key} | `{json.dumps(value, ensure_ascii=False)}` |" for key, value in about.settings.items()
    )
    figures = "It has not been measured."
    if about.results is not None:
        settings_of = {key: _without_folders(value) for key, value in about.results.settings.items()}
        settings_of |= {"model": "models/model.pt"}
        figures = (
            format_results(replace(about.results, settings=settings_of))
            .replace("\n## ", "\n### ")
            .replace("# ", "## ", 1)
        )
    return f"""\
# This model

Version {about.version} of the bundle `{about.bundle}`, with its weights in `models/model.pt`. Research only, not for
diagnosis.

{about.notes.strip() or "On what it was trained is not said."}{_trained_on(about.run)}

It treats scans by these settings, which stand in `configs/inference.yaml` too. Another value there is refused.

| setting | |
| --- | --- |
{settings}

{figures.strip()}
"""


def _without_folders(value: Any) -> Any:
    """A text, such as the command, in which a path is its last name: not where it lay on somebody's machine."""
    return re.sub(r"[^\s=]*[/\\](?=\S)", "", value) if isinstance(value, str) else value


def _trained_on(run: Mapping[str, Any]) -> str:
    """What the note of the training says; places on somebody's machine are left out."""
    words = []
    if run.get("cases") or run.get("files"):
        cases = run.get("cases") or sorted(run.get("files", {}))
        words.append(f"on {len(cases)} scans")
    if isinstance(run.get("settings"), Mapping) and "steps" in run["settings"]:
        words.append(f"for {run['settings']['steps']} steps")
    if run.get("recipe"):
        words.append(f"by the recipe {run['recipe']}")
    return f"\n\nTrained {', '.join(words)}." if words else ""
