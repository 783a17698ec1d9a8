# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss info`: versions, devices and installed bundles, and the settings of one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from monai_fss.apps.methods.bundles import bundle_names, bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.setting_list import setting_list
from monai_fss.apps.versions import versions
from monai_fss.results.markdown import markdown_table

__all__ = ["add_arguments", "bundle_facts", "devices", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--bundle", metavar="NAME", help="list the settings of this method, what they may be and what they mean"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.bundle is not None:
        from monai_fss.apps.segment.command import RESERVED as SEGMENT
        from monai_fss.apps.train.command import RESERVED as TRAIN

        settings = setting_list(Method.parse(args.bundle), {"train": TRAIN, "segment": SEGMENT})
        print(json.dumps(settings, indent=1, ensure_ascii=False) if args.json else _settings_text(settings))
        return 0
    facts = {"versions": versions(), "devices": devices(), "bundles": [bundle_facts(name) for name in bundle_names()]}
    print(json.dumps(facts, indent=1, ensure_ascii=False) if args.json else _text(facts))
    return 0


def devices() -> list[str]:
    """What PyTorch can compute on: the processor with its number of threads, then each CUDA device by name."""
    import torch

    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return [f"cpu ({torch.get_num_threads()} threads)", *cuda]


def bundle_facts(name: str) -> dict[str, Any]:
    """
    What is known of an installed bundle.

    Args:
        name: of the bundle.

    Returns:
        ``name``; ``version``, ``task`` and ``description`` of its metadata.json, None where the file or the entry is
        missing; ``weights``, the model file installed with it or None; ``configs``, the folder of its configurations.
    """
    folder = bundle_path(name)
    metadata, model = folder / "configs" / "metadata.json", folder / "models" / "model.pt"
    content = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else {}
    return {
        "name": name,
        **{key: content.get(key) for key in ("version", "task", "description")},
        "weights": str(model) if model.is_file() else None,
        "configs": str(folder / "configs"),
    }


def _text(facts: dict[str, Any]) -> str:
    lines = [f"{name:16} {version}" for name, version in facts["versions"].items()]
    lines += [f"{'device':16} {device}" for device in facts["devices"]]
    rows = [
        [
            bundle["name"],
            bundle["version"] or "-",
            bundle["task"] or bundle["description"] or "(no metadata.json)",
            bundle["weights"] or ("none: train first" if Method(bundle["name"]).is_trained else "not needed"),
            bundle["configs"],
        ]
        for bundle in facts["bundles"]
    ]
    return "\n".join([*lines, "", markdown_table(["bundle", "version", "task", "weights", "configurations"], rows)])


def _settings_text(settings: dict[str, list[dict[str, str]]]) -> str:
    lines = []
    for command, rows in settings.items():
        lines += ["", f"monai-fss {command} --set"]
        for row in rows:
            more = "; ".join(filter(None, (row["may be"], row["comment"])))
            lines += [f"  {row['setting']}={row['default']}", f"      {more}"]
    return "\n".join(lines[1:])
