# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_fss import __version__
from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import bundle_names


def test_json_holds_versions_devices_and_bundles(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"]["monai_fss"] == __version__
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["devices"][0].startswith("cpu (")
    assert len(facts["devices"]) == 1 + torch.cuda.device_count()
    assert [bundle["name"] for bundle in facts["bundles"]] == bundle_names()
    for bundle in facts["bundles"]:
        assert (Path(bundle["configs"]) / "inference.yaml").is_file()
        assert bundle["weights"] is None or Path(bundle["weights"]).is_file()


def test_text_names_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"monai_fss        {__version__}\n" in out
    assert "\n| bundle" in out
    assert all(f"\n| {name} " in out for name in bundle_names())
