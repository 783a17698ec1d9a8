# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Few-shot segmentation of medical scans with MONAI: one labelled scan in, a folder of masks out.

Importing the package loads neither torch nor MONAI, so that the command line answers at once.
"""

from __future__ import annotations

__version__ = "0.1.0"
