# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The Python of README.md runs as it stands, in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest


def test_the_python_of_the_readme_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    monkeypatch.chdir(tmp_path)
    for snippet in snippets:
        names: dict[str, Any] = {}
        exec(compile(snippet, "README.md", "exec"), names)
        assert "logits" not in snippet or names["logits"].shape == (3, 3, 64, 64)
    assert not list(tmp_path.iterdir())
