# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Few-shot segmentation of medical scans with MONAI: one labelled scan in, a folder of masks out.

Importing the package loads neither torch nor MONAI, so that the command line answers at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__version__ = "0.1.0"


def _give_numba_a_cache(package: Path) -> None:
    """Let numba keep what it compiles in a temporary folder where it may write neither here nor at the user's home.

    Else it refuses to import a function that is to be kept: another user's installation, a user without a home.
    What numba keeps is code that it runs: a folder of a known name is taken only if it is this user's own.

    Args:
        package: folder of a module with such functions.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if any(_writable(folder) for folder in (package / "__pycache__", home / "numba")):
        return
    mine = Path(tempfile.gettempdir()) / f"monai_fss-numba-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    with contextlib.suppress(OSError):
        mine.mkdir(mode=0o700, exist_ok=True)
    own = mine.is_dir() and not mine.is_symlink() and (not hasattr(os, "getuid") or mine.stat().st_uid == os.getuid())
    safe = own and _writable(mine) and mine.stat().st_mode & 0o022 == 0
    os.environ["NUMBA_CACHE_DIR"] = str(mine) if safe else tempfile.mkdtemp(prefix="monai_fss-numba-")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


_give_numba_a_cache(Path(__file__).parent / "registration" / "fusion")
