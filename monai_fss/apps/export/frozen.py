# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A bundle that asks for no labelled scan: its network has been shown it, or it lies in the bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from monai_fss.apps.errors import UsageError
from monai_fss.apps.export.networks import write_torchscript
from monai_fss.apps.export.shown import Shown
from monai_fss.apps.release.documents import About, metadata_text
from monai_fss.apps.release.network_file import write_network_file
from monai_fss.data import verbatim, write_text_atomic
from monai_fss.data.files.plain import save_plain

__all__ = ["frozen_config", "frozen_metadata", "write_frozen"]

_OF_SUPPORT = (
    "displayable_configs",
    "support_image",
    "support_label",
    "support_slices",
    "support_preprocessing",
    "support_scans",
    "support",
    "labels",
    "prior",
    "prior_weight",
    "cache_dir",
    "cache_gb",
    "atlas_settings",
    "atlas",
    "prnet",
    "quality",
    "quality_score",
    "comparison_score",
    "network_inferer",
)
"""Ids of a few-shot bundle's inference that a network has no need of which has been shown its labelled scans."""


def frozen_config(shown: Shown) -> dict[str, Any]:
    """The content of ``inference.yaml``, of a network that was shown its scans or with the scans in the bundle."""
    content = yaml.safe_load(shown.method.inference_file.read_text(encoding="utf-8"))
    settings = {key: verbatim(value) for key, value in shown.settings.items()}
    named = {"class_names": verbatim(shown.names), "names": "$dict(zip(@values, @class_names))"}
    content = {**content, **settings, "bundle_root": "."}
    return _with_scans(content, shown, named) if shown.network is None else _without_support(content, shown, named)


def frozen_metadata(shown: Shown) -> dict[str, Any]:
    """The content of ``metadata.json``, with the organs in ``channel_def`` under their label values."""
    about = About(shown.method.bundle, shown.settings, "0.1.0", "shown its labelled scans", "", None, {})
    metadata: dict[str, Any] = json.loads(metadata_text(shown.method.folder / "configs" / "metadata.json", about))
    pred = metadata["network_data_format"]["outputs"]["pred"]
    organs = zip(shown.values, shown.names, strict=True)
    pred["channel_def"] = {"0": "background", **{str(value): name for value, name in organs}}
    if shown.network is not None:
        pred["num_channels"] = 1 + len(shown.values)
    metadata["changelog"] = {metadata["version"]: f"{shown.method.bundle}, shown its labelled scans"}
    return metadata


def write_frozen(folder: Path, shown: Shown) -> None:
    """
    Write the bundle.

    Args:
        folder: new.
        shown: the method.

    Raises:
        UsageError: a labelled scan that goes into the bundle is no NIfTI file; the network cannot be compiled.
    """
    config, metadata = frozen_config(shown), frozen_metadata(shown)
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    for name in ("LICENSE", "configs/logging.conf"):
        shutil.copyfile(shown.method.folder / name, folder / name)
    text = f"# {shown.method.bundle}, shown its labelled scans: it asks for none. Written by monai-fss export.\n"
    text += yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    write_text_atomic(folder / "configs" / "inference.yaml", text)
    write_text_atomic(folder / "configs" / "metadata.json", json.dumps(metadata, indent=4, ensure_ascii=False) + "\n")
    write_text_atomic(folder / "docs" / "README.md", _readme(shown))
    if shown.network is None:
        _copy_scans(folder, shown)
        if shown.content is None:
            torch.save({}, folder / "models" / "model.pt")
        else:
            save_plain(folder / "models" / "model.pt", shown.content)
        return
    assert shown.content is not None
    save_plain(folder / "models" / "model.pt", {**shown.content, "model": shown.network.state_dict()})
    write_network_file(folder, config, shown=True)
    image = metadata["network_data_format"]["inputs"]["image"]
    place, shape = folder / "models" / "model.ts", image["spatial_shape"]
    write_torchscript(place, shown.network, image["num_channels"], shape, metadata, {"inference": config})


def _without_support(content: dict[str, Any], shown: Shown, named: Mapping[str, Any]) -> dict[str, Any]:
    inferer = {k: v for k, v in content["network_inferer"].items() if k not in ("support", "_requires_")}
    report, *others = content["handlers"]
    kept = {key: value for key, value in content.items() if key not in _OF_SUPPORT}
    return {
        **kept,
        **named,
        "values": shown.values,
        "pieces": f"$dict(zip(@values, {shown.pieces}))",
        "network_def": {**content["network_def"], "ways": len(shown.values)},
        "inferer": inferer,
        "handlers": [{k: v for k, v in report.items() if k not in ("quality", "similarity")}, *others],
        "initialize": [
            "$fss_data.check_places(@dataset_dir, @output_dir, @model)",
            "$fss_data.check_located_inference(@model, @network_def, @dataset_dir, @settings)",
        ],
    }


def _with_scans(content: dict[str, Any], shown: Shown, named: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in content.items() if key != "displayable_configs"}
    files = [_names_in_bundle(number) for number in range(1, 1 + len(shown.support))]
    places = [[f"$@bundle_root + '/{pair[side]}'" for pair in files] for side in (0, 1)]
    support = {"support_image": places[0], "support_label": places[1]}
    return {**kept, **named, **support, "labels": shown.values}


def _names_in_bundle(number: int) -> tuple[str, str]:
    return f"support/scan_{number}.nii.gz", f"support/scan_{number}_label.nii.gz"


def _copy_scans(folder: Path, shown: Shown) -> None:
    (folder / "support").mkdir()
    for number, pair in enumerate(shown.support, 1):
        for source, name in zip(pair, _names_in_bundle(number), strict=True):
            if not source.name.endswith(".nii.gz"):
                raise UsageError(f"{source}: goes into the bundle, which holds .nii.gz files. Convert it first.")
            shutil.copyfile(source, folder / name)


def _readme(shown: Shown) -> str:
    organs = "\n".join(f"| {value} | {name} |" for value, name in zip(shown.values, shown.names, strict=True))
    settings = "\n".join(f"| {key} | `{json.dumps(value)}` |" for key, value in shown.settings.items()) or "| none | |"
    within = (
        "The labelled scans lie in `support/`: whoever has this bundle has them."
        if shown.network is None
        else "What the network was shown of them is in its weights (`models/model.pt`, `models/model.ts`)."
    )
    return f"""\
# Model Overview

`{shown.method.bundle}` that has been shown {len(shown.support)} labelled scan(s): it segments others of the same
modality and region, and asks for none. {within} Research only, not for diagnosis. It has not been measured.

| label value | organ |
| --- | --- |
{organs}

| setting of the training | |
| --- | --- |
{settings}

## MONAI Bundle Commands

```
python -m monai.bundle run inference --config_file configs/inference.yaml --dataset_dir IMAGES --output_dir OUT
```

# License

Apache License 2.0.
"""
