# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss label-app`: write the app that a MONAI Label server is started with."""

from __future__ import annotations

import argparse
from importlib.resources import files as package_files
from pathlib import Path

from monai_fss.data import check_output, write_text_atomic

__all__ = ["add_arguments", "app_files", "run"]

TEMPLATE = package_files("monai_fss") / "apps" / "label_app" / "template"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("folder", metavar="DIR", help="folder for the app; models that are in it stay")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an app that is there")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    folder, texts = Path(args.folder), app_files()
    check_output(folder, sorted(texts), args.overwrite)
    for name, text in texts.items():
        write_text_atomic(folder / name, text)
    (folder / "model").mkdir(exist_ok=True)
    print(f"{folder}: {', '.join(sorted(texts))}; trained models go into {folder / 'model'}/NAME/model.pt")
    print(f"next, where MONAI Label is installed (pip install -r {folder / 'requirements.txt'}):")
    print(f"  monailabel start_server --app {folder} --studies STUDIES --host 127.0.0.1 --conf sam2 false")
    return 0


def app_files() -> dict[str, str]:
    """Name to text of the app's files."""
    return {name: (TEMPLATE / name).read_text(encoding="utf-8") for name in ("main.py", "requirements.txt")}
