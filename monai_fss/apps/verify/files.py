# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which files a bundle has to have, and how large they may be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from monai_fss.apps.verify.lines import place

__all__ = ["LARGEST", "LARGE_FILES", "config_file", "file_problems"]

LARGEST = 25_000_000
"""Bytes of a file that the model zoo takes into its repository."""
LARGE_FILES = "large_files.yml"
_ENDINGS = ("json", "yaml", "yml")
_BUILT = ("eval", "models/cache", "models/checkpoints", "models/tensorboard", "__pycache__")


def config_file(folder: Path, name: str) -> Path | None:
    """``configs/<name>`` with one of the endings that MONAI knows, if it is there."""
    files = (folder / "configs" / f"{name}.{ending}" for ending in _ENDINGS)
    return next((file for file in files if file.is_file()), None)


def file_problems(folder: Path) -> list[str]:
    """
    What is missing, too large or not what ``large_files.yml`` says.

    Args:
        folder: of the bundle.

    Returns:
        a sentence for each, with the file and, where there is one, the line.
    """
    if not (folder / "configs").is_dir():
        return [f"{folder}: is no bundle: it has no folder configs. Name the folder of a bundle."]
    problems = [
        f"{folder / name}: is missing. {advice}"
        for name, advice in (
            ("LICENSE", "Add the licence of the bundle, under exactly this name."),
            ("configs/metadata.json", "Add it; monai-fss release writes one."),
            ("docs/README.md", "Say there what the model does, on what it was trained, and what it is worth."),
        )
        if not (folder / name).is_file()
    ]
    if config_file(folder, "inference") is None:
        problems.append(f"{folder}/configs/inference.yaml: is missing. Without it nothing can be segmented.")
    large, own = _large_files(folder)
    problems += own
    if not (folder / "models").is_dir():
        problems.append(f"{folder}/models: is missing. Make it, with model.pt in it.")
    elif not (folder / "models" / "model.pt").is_file() and "models/model.pt" not in large:
        problems.append(
            f"{folder}/models/model.pt: is missing, and no {LARGE_FILES} says where it is. Write it by "
            "monai-fss release."
        )
    return problems + _too_large(folder, set(large))


def _large_files(folder: Path) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The entries of large_files by path, and what is wrong with them."""
    file = next((path for ending in _ENDINGS if (path := folder / f"large_files.{ending}").is_file()), None)
    if file is None:
        return {}, []
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["large_files"]
        large = {str(entry["path"]): entry for entry in entries}
    except (yaml.YAMLError, TypeError, KeyError) as error:
        return {}, [f"{file}: has no list large_files of path and url ({type(error).__name__}). Write it anew."]
    problems = []
    for number, entry in enumerate(entries):
        where, path = place(file, "large_files", number, "path"), folder / str(entry["path"])
        if not str(entry.get("url", "")).startswith(("https://", "http://")):
            problems.append(f"{where}: {entry['path']} has no url. Say where it can be downloaded.")
        if entry.get("hash_type") not in (None, "", *hashlib.algorithms_available):
            problems.append(f"{place(file, 'large_files', number, 'hash_type')}: is no kind of digest. Give sha256.")
        elif path.is_file() and entry.get("hash_val"):
            digest = hashlib.new(entry.get("hash_type") or "md5", path.read_bytes()).hexdigest()
            if digest != entry["hash_val"]:
                own = place(file, "large_files", number, "hash_val")
                problems.append(f"{own}: is not the digest of {path}, which is {digest}. Correct one of the two.")
    return large, problems


def _too_large(folder: Path, large: set[str]) -> list[str]:
    problems = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name in large or name.startswith(_BUILT) or "__pycache__" in path.parts:
            continue
        size = path.stat().st_size
        if size > LARGEST:
            problems.append(
                f"{path}: has {size / 1e6:.0f} MB; the zoo takes {LARGEST / 1e6:.0f} MB a file. Put it where it can be "
                f"downloaded, and name it in {LARGE_FILES}."
            )
    return problems
