# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The folder of a released bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from monai_fss.apps.release.documents import About, metadata_text, readme_text
from monai_fss.apps.release.network_file import write_network_file
from monai_fss.apps.release.yaml_text import with_values
from monai_fss.apps.verify.files import LARGE_FILES, LARGEST
from monai_fss.data import sha256_of, write_text_atomic
from monai_fss.data.files.plain import save_plain

__all__ = ["MODEL", "write_bundle"]

MODEL = "models/model.pt"
_COPIED = ("LICENSE", "configs", "docs", "scripts")


def write_bundle(
    source: Path, target: Path, content: Mapping[str, Any] | None, about: About, half: bool = False
) -> None:
    """
    Write a bundle with a model, whose settings stand in its configurations.

    Args:
        source: folder of the installed bundle.
        target: new folder.
        content: the model file, see :func:`monai_fss.data.read_model`. None: the method has none; the file is there,
            and empty, as MONAI's tools look for it.
        about: what is said of the model.
        half: see :func:`monai_fss.data.files.plain.save_plain`.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, target / name)
    for name, expressions in (("inference", True), ("train", False)):
        file = target / "configs" / f"{name}.yaml"
        if file.is_file() and content is not None:
            text = with_values(file.read_text(encoding="utf-8"), content["settings"], expressions)
            write_text_atomic(file, text)
    write_text_atomic(target / "configs" / "metadata.json", metadata_text(source / "configs" / "metadata.json", about))
    write_text_atomic(target / "docs" / "README.md", readme_text(source / "docs" / "README.md", about))
    (target / "models").mkdir(exist_ok=True)
    if content is None:
        torch.save({}, target / MODEL)
    else:
        save_plain(target / MODEL, content, half)
        inference = yaml.safe_load((target / "configs" / "inference.yaml").read_text(encoding="utf-8"))
        write_network_file(target, inference)


def name_large_files(target: Path, url: str) -> bool:
    """
    Write ``large_files.yml`` where the model is larger than the zoo takes.

    Args:
        target: folder of the bundle.
        url: where the file can be downloaded.

    Returns:
        whether it is.
    """
    model = target / MODEL
    if model.stat().st_size <= LARGEST:
        return False
    entry = {"path": MODEL, "url": url, "hash_val": sha256_of(model), "hash_type": "sha256"}
    write_text_atomic(target / LARGE_FILES, yaml.safe_dump({"large_files": [entry]}, sort_keys=False))
    return True
