# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss export`: other programs give the masks that `monai-fss segment` gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from deploy_steps import deployed
from installed_bundles import small_inference
from label_steps import LabelInference
from monai.bundle import load
from monai.data import MetaTensor

from monai_fss.apps.cli import main
from monai_fss.apps.errors import UsageError
from monai_fss.apps.export.command import check_format
from monai_fss.apps.export.networks import check_sizes, write_onnx, write_torchscript
from monai_fss.apps.methods.method import Method
from monai_fss.data import LoadScan
from monai_fss.networks.nets import ADNet, build_encoder

QUERY = "case_03"
pytestmark = pytest.mark.slow


def support_words(data: Path) -> list[str]:
    return ["--support-image", str(data / "images" / "case_01.nii.gz")] + [
        "--support-label",
        str(data / "labels" / "case_01.nii.gz"),
    ]


@pytest.fixture(scope="module")
def frozen(trained: Path, phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ADNet that has been shown case_01, as a bundle."""
    folder = tmp_path_factory.mktemp("frozen") / "adnet_case_01"
    words = ["export", "--model", str(trained / "model.pt"), *support_words(phantom_set), "--labels", "1,4"]
    assert main([*words, "--format", "bundle", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def mask(trained: Path, phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What `monai-fss segment` makes of case_03."""
    folder = tmp_path_factory.mktemp("segmented") / "out"
    words = ["segment", "--model", str(trained / "model.pt"), *support_words(phantom_set), "--labels", "1,4"]
    words += ["--images", str(phantom_set / "images" / f"{QUERY}.nii.gz"), "--output", str(folder)]
    assert main([*words, "--no-quality", "--no-overlays", "--device", "cpu"]) == 0
    found = np.asarray(nib.Nifti1Image.from_filename(folder / f"{QUERY}.nii.gz").dataobj)
    assert set(np.unique(found)) > {0}
    return found


def test_a_frozen_bundle_asks_for_no_support(frozen: Path) -> None:
    text = (frozen / "configs" / "inference.yaml").read_text(encoding="utf-8")
    assert "support" not in text.split("\n", 1)[1]
    pred = json.loads((frozen / "configs" / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    assert pred["channel_def"] == {"0": "background", "1": "liver", "4": "spleen"} and pred["num_channels"] == 3
    assert main(["verify", str(frozen)]) == 0


def test_monai_bundle_loads_the_network_that_was_shown_its_scan(frozen: Path) -> None:
    """By ``monai.bundle.load``, which looks for infer.json, or for model.ts."""
    network = load(frozen.name, bundle_dir=str(frozen.parent), workflow_type="infer", device="cpu")
    script = load(frozen.name, bundle_dir=str(frozen.parent), load_ts_module=True, device="cpu")[0]
    image = torch.rand(2, 4, 64, 64)
    with torch.no_grad():
        logits = network(image)
        assert logits.shape == (2, 3, 64, 64) and float(logits.std()) > 0
        torch.testing.assert_close(script(image), logits, rtol=0, atol=1e-4)


def test_monai_label_gives_the_same_mask(frozen: Path, phantom_set: Path, mask: np.ndarray) -> None:
    found = LabelInference(frozen)(phantom_set / "images" / f"{QUERY}.nii.gz")
    np.testing.assert_array_equal(found[0].numpy(), mask)


def test_monai_deploy_gives_the_same_mask(frozen: Path, phantom_set: Path, mask: np.ndarray) -> None:
    image = LoadScan()(phantom_set / "images" / f"{QUERY}.nii.gz")
    plain = MetaTensor(image.as_tensor()[0], affine=image.affine, meta={"original_channel_dim": "no_channel"})
    found = deployed(frozen / "models" / "model.ts", plain)
    np.testing.assert_array_equal(np.asarray(found)[0], mask)


def test_the_bundle_command_gives_the_same_mask(
    frozen: Path, phantom_set: Path, mask: np.ndarray, tmp_path: Path
) -> None:
    from monai.bundle import run

    given = {"dataset_dir": str(phantom_set / "images" / f"{QUERY}.nii.gz"), "output_dir": str(tmp_path)}
    config = str(frozen / "configs" / "inference.yaml")
    run("inference", config_file=config, logging_file=False, bundle_root=str(frozen), device="cpu", **given)
    found = np.asarray(nib.Nifti1Image.from_filename(tmp_path / f"{QUERY}.nii.gz").dataobj)
    np.testing.assert_array_equal(found, mask)


@pytest.mark.usefixtures("registered_once")
def test_a_frozen_atlas_holds_the_labelled_scan(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "atlas_case_01"
    words = ["export", *support_words(phantom_set), "--format", "bundle", "--output", str(folder)]
    assert main(words) == 0
    assert "holds 1 labelled scan(s), in support/" in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "support").iterdir()) == ["scan_1.nii.gz", "scan_1_label.nii.gz"]
    server = LabelInference(folder)
    for key, value in small_inference("atlas").items():
        server.config[key] = value
    found = server(phantom_set / "images" / f"{QUERY}.nii.gz")
    words = ["segment", *support_words(phantom_set), "--images", str(phantom_set / "images" / f"{QUERY}.nii.gz")]
    words += ["--set", *(f"{key}={value}" for key, value in small_inference("atlas").items() if key != "quality")]
    assert main([*words, "--output", str(tmp_path / "out"), "--no-quality", "--no-overlays", "--device", "cpu"]) == 0
    expected = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "out" / f"{QUERY}.nii.gz").dataobj)
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_what_cannot_be_exported_is_refused_with_its_reason(
    trained: Path, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, support = ["--model", str(trained / "model.pt")], support_words(phantom_set)
    cases: list[tuple[list[str], str]] = [
        ([*model, "--format", "ts"], "--support-image, --support-label: are needed, as adnet segments by a labelled"),
        ([*support, "--format", "ts"], "atlas registers the labelled scan to each scan, which no network file can do"),
        (["--bundle", "prnet", *model, "--format", "onnx"], "prnet finds points in a scan first"),
        (["--bundle", "small_organ", *model, "--format", "ts"], "small_organ segments in stages"),
        (
            ["--bundle", "lt_net", *model, "--format", "ts"],
            "lt_net registers each scan to the labelled one that its model",
        ),
        (["--bundle", "data_aug", *model, "--format", "bundle"], "data_aug asks for no labelled scan as it is"),
        (["--bundle", "unet_3d", *model, "--format", "bundle"], "unet_3d asks for no labelled scan as it is"),
        ([*model, *support, "--labels", "77", "--format", "ts"], "77"),
        ([*support, "--support-slices", "3", "--format", "bundle"], "atlas uses whole labelled scans"),
    ]
    for words, says in cases:
        assert main(["export", *words, "--output", str(tmp_path / "out")]) == 2
        assert says in capsys.readouterr().err and not (tmp_path / "out").exists()
    for form in ("ts", "onnx"):
        with pytest.raises(UsageError, match="organnet registers the labelled scan to each scan"):
            check_format(Method("organnet"), form)
    assert main(["export", *model, *support, "--format", "ts", "--output", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_network_that_has_been_shown_nothing_is_not_exported(tmp_path: Path) -> None:
    network = ADNet(build_encoder("compact", in_channels=1)).eval()
    with pytest.raises(UsageError, match="--format ts: this ADNet has not been shown a labelled scan"):
        write_torchscript(tmp_path / "a.ts", network, 1, ["32*n", "32*n"], {"version": "0"}, {})
    with pytest.raises(UsageError, match="--format onnx: this ADNet has not been shown a labelled scan"):
        write_onnx(tmp_path / "a.onnx", network, 1, ["32*n", "32*n"], {})
    assert not list(tmp_path.iterdir())


def test_a_file_that_gives_other_logits_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ADNet(build_encoder("compact", in_channels=1)).eval()
    label = torch.zeros(1, 1, 1, 32, 32)
    label[..., 8:20, 8:20] = 1
    network.condition(torch.rand(1, 1, 1, 32, 32), label)
    real = torch.jit.load
    metadata: dict[str, Any] = {"version": "0"}
    assert write_torchscript(tmp_path / "a.ts", network, 1, ["32*n", "32*n"], metadata, {}) < 1e-4
    monkeypatch.setattr(torch.jit, "load", lambda file: lambda image: real(file)(image) + 2e-4)
    with pytest.raises(ValueError, match=r"differ by up to 0.0002 from the network's; 0.0001 is allowed"):
        write_torchscript(tmp_path / "b.ts", network, 1, ["32*n", "32*n"], metadata, {})
    assert not (tmp_path / "b.ts").exists()


def test_sizes_to_try() -> None:
    assert check_sizes(["32*n", "32*n"]) == [(64, 64), (96, 64)]
    assert check_sizes(["32*n", "32*n", "2*n"]) == [(64, 64, 4), (96, 64, 6)]
    assert check_sizes([32, 32, 16]) == [(32, 32, 16), (32, 32, 16)]
