# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Make MONAI Label importable where torchvision is not: PyPI's torchvision beside a CPU build of PyTorch.

    python tests/label/torchvision_shim.py

PyPI's torchvision is built for CUDA; beside a CPU build of PyTorch its import ends with "operator torchvision::nms does
not exist". MONAI Label imports it and, for what the app does, uses nothing of it. Where the import fails this writes a
module and a ``.pth`` file into the environment that runs it; they declare the two operators before torchvision is
imported. Where PyTorch and torchvision fit together, nothing is written.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

MODULE = "_declare_torchvision_operators"
SOURCE = '''"""Declares operators that a torchvision without its compiled part asks for."""

import sys

BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class Declare:
    """Finds nothing: looks whether torchvision is about to be imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.operators = torch.library.Library("torchvision", "DEF")
            KEPT.append(self.operators)
            for operator in ("nms", "qnms"):
                self.operators.define(operator + BOXES)
        return None


KEPT = []
sys.meta_path.insert(0, Declare())
'''


def importable() -> bool:
    """Whether another interpreter of this environment can import torchvision."""
    return (
        subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0
    )


def main() -> int:
    """Write the shim where it is needed; the exit code says whether torchvision can be imported then."""
    if importable():
        return 0
    folder = Path(sysconfig.get_paths()["purelib"])
    (folder / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
    (folder / f"{MODULE}.pth").write_text(f"import {MODULE}\n", encoding="utf-8")
    print(f"torchvision has no compiled part here: its operators are declared by {folder / MODULE}.pth")
    return 0 if importable() else 1


if __name__ == "__main__":
    sys.exit(main())
