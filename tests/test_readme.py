# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The Python of README.md runs as it stands, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_python_of_the_readme_runs(repository: Path, tmp_path: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    for snippet in snippets:
        checked = (
            snippet + "\nassert logits.shape == (3, 3, 64, 64), logits.shape\n" if "logits" in snippet else snippet
        )
        done = subprocess.run([sys.executable, "-c", checked], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
