# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss verify`: check bundles offline, as the model zoo does."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_fss.apps.errors import UsageError
from monai_fss.apps.verify.configuration import configuration_problems
from monai_fss.apps.verify.files import file_problems
from monai_fss.apps.verify.metadata import metadata_problems
from monai_fss.data import ScanError

__all__ = ["MODES", "add_arguments", "run", "verify"]

MODES = ("min", "full")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "folders", nargs="*", default=["."], metavar="DIR", help="bundle, or folder of bundles (default: this one)"
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="full",
        help="min: files, metadata, configurations; full (default): the network and its weights too",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    bundles = [bundle for folder in args.folders for bundle in _bundles(Path(folder))]
    problems = []
    for bundle in bundles:
        own = verify(bundle, args.mode)
        problems += own
        print(f"{bundle}: {f'{len(own)} problem(s)' if own else f'passes ({args.mode})'}")
    if problems:
        raise ScanError(problems)
    return 0


def verify(folder: Path, mode: str = "full") -> list[str]:
    """
    Check a bundle without a connection.

    The model zoo's ``ci/verify_bundle.py`` asks the same of its files, version, metadata, network and export (of it
    what needs a connection is left out: whether the version has been published before); MONAI Label and MONAI Deploy
    look for what is asked of the configurations.

    Args:
        folder: of the bundle.
        mode: "min" or "full", see :data:`MODES`.

    Returns:
        a sentence for each problem, ``<file>:<line>: <what is wrong>. <what to do>.``; none where it passes.
    """
    problems = file_problems(folder)
    metadata = folder / "configs" / "metadata.json"
    if metadata.is_file():
        problems += metadata_problems(metadata)
    if (folder / "configs").is_dir():
        problems += configuration_problems(folder)
    if problems or mode == "min":
        return problems
    from monai_fss.apps.verify.network import network_problems

    return network_problems(folder)


def _bundles(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: is no folder. Name a bundle, or a folder of bundles.")
    if (folder / "configs").is_dir():
        return [folder]
    inside = sorted(path for path in folder.iterdir() if (path / "configs").is_dir())
    return inside or [folder]
