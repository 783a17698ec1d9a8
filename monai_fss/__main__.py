# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`python -m monai_fss ...` is `monai-fss ...`."""

from __future__ import annotations

import sys

from monai_fss.apps.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
