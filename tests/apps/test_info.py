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


def test_the_settings_of_a_bundle_are_listed_with_what_they_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--bundle", "adnet"]) == 0
    text = capsys.readouterr().out
    assert (
        "  pixdim=2.5\n      a number above 0 and of at most 1000; mm, in plane; slices keep their distance\n" in text
    )
    assert (
        "  encoder=compact\n      one of compact, resnet18, resnet50, resnet101, efficientnet_lite0, timm/NAME\n"
        in text
    )
    assert "  elastic::rotate=0.0873\n      a number; 5 degrees\n" in text
    assert "output_dir" not in text, "it has an option of its own"
    assert main(["info", "--bundle", "atlas", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["segment"]
    fusion = next(row for row in listed["segment"] if row["setting"] == "fusion")
    assert fusion["default"] == "pbaf" and fusion["may be"] == "one of pbaf, soft, majority, local, staple"
    assert main(["info", "--bundle", "nope"]) == 2
