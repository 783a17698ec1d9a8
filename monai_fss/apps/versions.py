# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import monai_fss

__all__ = ["versions"]

PACKAGES = ("monai", "torch", "pytorch-ignite", "numpy", "scipy", "nibabel", "numba")


def versions() -> dict[str, str]:
    """Name to version, of Python, of this package and of those it stands on; "not installed" where one is missing."""
    found = {"python": platform.python_version(), "monai_fss": monai_fss.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
