# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Every bundle as it stands, with its example model, is one that the model zoo would take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from installed_bundles import BUNDLES, TRAINED

from monai_fss.apps.verify.command import verify


@pytest.fixture(params=BUNDLES)
def bundle(request: pytest.FixtureRequest, repository: Path) -> Path:
    return repository / "bundles" / request.param


def test_it_passes_our_check_offline(bundle: Path, repository: Path) -> None:
    """With its example model, which a bundle has when README.md lists it."""
    listed = f"](bundles/{bundle.name}/" in (repository / "README.md").read_text(encoding="utf-8")
    model = bundle / "models" / "model.pt"
    if not listed and not model.exists():
        assert [problem for problem in verify(bundle) if not problem.startswith(str(model))] == []
        return
    assert verify(bundle, "full") == []
    assert ("model_note" in torch.load(model, weights_only=True)) == (bundle.name in TRAINED)
    assert model.stat().st_size < 10_000_000
