# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a file holds, in a few characters."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["sha256_of"]

_BLOCK = 1 << 20


def sha256_of(*paths: str | Path) -> str:
    """SHA-256 of files, one after another, as hexadecimal text; a folder stands for its files in the order of names."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()
