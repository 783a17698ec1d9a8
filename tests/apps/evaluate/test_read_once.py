# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Each file of an evaluation is read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_fss.apps.cli import main
from monai_fss.data.reading import volume as reading
from monai_fss.results import read_results

Small = Callable[[str], dict[str, Any]]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "one_thread")]


def test_each_file_is_read_once_by_two_methods(
    phantom_set: Path, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    real = reading._read

    def counted(path: Path, found: Any) -> Any:
        reads[f"{path.parent.name}/{path.name}"] += 1
        return real(path, found)

    monkeypatch.setattr(reading, "_read", counted)
    settings = [f"{key}={value}" for key, value in small("adnet").items() if not key.startswith("val_")]
    settings = [pair.replace("False", "false") for pair in settings]
    words = ["evaluate", "--bundle", "adnet", "panet", "--data", str(phantom_set), "--output", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu", "--quality", "--set", *settings]) == 0
    assert len(read_results(tmp_path / "out").entries) == (2 + 1 + 1) * 2 * 5
    files = {f"{folder}/case_0{n}.nii.gz" for folder in ("images", "labels") for n in range(1, 5)}
    assert reads == dict.fromkeys(files, 1)
    assert torch.get_num_threads() == 1
