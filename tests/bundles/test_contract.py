# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What MONAI, its Model Zoo and MONAI Label ask of a bundle, asked of every bundle here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from installed_bundles import BUNDLES, COMPARING, FEW_SHOT, SUPPORTED, TRAINED, UNTRAINED, small_inference
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from monai_fss.apps.methods.method import Method
from monai_fss.data import load_model, read_model

SUPPORT, QUERIES = "case_02", ("case_01", "case_03")
Small = Callable[[str], dict[str, Any]]
TENSOR_KEYS = ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"]
TEXTS = ["schema", "version", "monai_version", "pytorch_version", "numpy_version"]
TEXTS += ["task", "description", "authors", "copyright"]
OBJECTS = ["changelog", "required_packages_version", "eval_metrics", "supported_apps"]
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request: pytest.FixtureRequest, repository: Path) -> Path:
    return repository / "bundles" / request.param


@pytest.fixture(scope="module", params=TRAINED)
def trained_bundle(request: pytest.FixtureRequest, repository: Path) -> Path:
    return repository / "bundles" / request.param


@pytest.fixture(scope="module")
def training(trained_bundle: Path, trained_once: Callable[[str], Path], registered_once: None) -> Path:
    """Run folder of two steps by the command from the repository, and two by the one from the bundle's folder."""
    return trained_once(trained_bundle.name)


@pytest.fixture(scope="module")
def model(training: Path) -> Path:
    return training / "model.pt"


def initialised(bundle: Path, name: str, **overrides: Any) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / f"{name}.yaml"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=name,
        bundle_root=str(bundle),
        device="$torch.device('cpu')",
        **overrides,
    )
    workflow.initialize()
    return workflow


def run_workflow(bundle: Path, name: str, **overrides: Any) -> tuple[list[str] | None, torch.nn.Module]:
    """Initialise, check and run a workflow; return the properties that it lacks, and its network."""
    workflow = initialised(bundle, name, **overrides)
    missing = workflow.check_properties()
    workflow.run()
    workflow.finalize()
    return missing, workflow.network_def


def known_settings(bundle: Path, model: Path) -> dict[str, Any]:
    """What the model brings for inference.yaml."""
    config = ConfigParser.load_config_file(str(bundle / "configs" / "inference.yaml"))
    settings = read_model(model)["settings"]
    assert settings.keys() <= config.keys()
    return settings


def network_of(bundle: Path, model: Path) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    for key, value in known_settings(bundle, model).items():
        parser[key] = value
    return load_model(model, parser.get_parsed_content("network_def")).eval()


def check_masks(folder: Path, empty: bool = False) -> None:
    """Masks of labels 1 and 4 in the grid of each query; what learnt in two steps what to segment may find nothing."""
    for case in QUERIES:
        mask, image = (nib.Nifti1Image.from_filename(folder / f / f"{case}.nii.gz") for f in ("out", "in"))
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
        values = set(np.unique(np.asarray(mask.dataobj)).tolist())
        assert values <= {0, 1, 4} and (empty or len(values) > 1)
        assert np.issubdtype(mask.get_data_dtype(), np.integer)


def test_required_files(bundle: Path) -> None:
    files = ["LICENSE", "docs/README.md", "configs/inference.yaml", "configs/evaluate.yaml", "configs/metadata.json"]
    missing = [f for f in [*files, "configs/logging.conf", "models/README.md"] if not (bundle / f).is_file()]
    assert not missing
    code = [path for path in bundle.rglob("*.py") if path.parent != bundle / "scripts"]
    assert not code, "bundles hold configuration, and scripts that are run; what is imported is in the package"


@pytest.mark.slow
def test_training_has_every_property(
    trained_bundle: Path, training: Path, phantom_set: Path, small: Small, tmp_path: Path
) -> None:
    folders = {"dataset_dir": phantom_set, "output_dir": tmp_path / "out", "cache_dir": training / "cache"}
    settings = small(trained_bundle.name) | {key: str(folder) for key, folder in folders.items()}
    workflow = initialised(trained_bundle, "train", **settings)
    assert workflow.check_properties() == []
    workflow.finalize()


@pytest.mark.slow
def test_training_writes_tensors(training: Path, model: Path) -> None:
    content = torch.load(model, weights_only=True)
    assert content.keys() == {"model", "settings", "network", "bundle", "version"}
    assert all(torch.isfinite(tensor).all() for tensor in content["model"].values())
    best = torch.load(training / "model_best.pt", weights_only=True)
    assert best["network"] == content["network"] and best["settings"] == content["settings"]
    assert best["model"].keys() == content["model"].keys()


@pytest.mark.slow
def test_training_goes_on(training: Path, model: Path) -> None:
    half, whole = read_model(training / "half.pt")["model"], read_model(model)["model"]
    assert any(not torch.equal(half[key], whole[key]) for key in whole)
    checkpoint = torch.load(training / "checkpoints" / "checkpoint_4.pt", weights_only=True)
    assert checkpoint["trainer"]["iteration"] == 4


def run_inference(
    bundle: Path, phantom_set: Path, folder: Path, **settings: Any
) -> tuple[list[str] | None, torch.nn.Module]:
    """Segment the queries in ``folder/in`` into ``folder/out``."""
    (folder / "in").mkdir()
    for case in QUERIES:
        shutil.copy(phantom_set / "images" / f"{case}.nii.gz", folder / "in")
    if bundle.name in SUPPORTED:
        settings["support_image"] = str(phantom_set / "images" / f"{SUPPORT}.nii.gz")
        settings["support_label"] = str(phantom_set / "labels" / f"{SUPPORT}.nii.gz")
    return run_workflow(
        bundle,
        "inference",
        dataset_dir=str(folder / "in"),
        labels=[1, 4],
        output_dir=str(folder / "out"),
        **settings,
    )


@pytest.mark.slow
def test_inference_writes_masks_in_the_grid_of_each_query(
    trained_bundle: Path, phantom_set: Path, model: Path, tmp_path: Path
) -> None:
    settings = {"model": str(model), **known_settings(trained_bundle, model)}
    settings |= {"quality": False} if Method(trained_bundle.name).registers else {}  # one more registration of each
    missing, network = run_inference(trained_bundle, phantom_set, tmp_path, **settings)
    assert missing == []
    weights = read_model(model)["model"]
    assert all(torch.equal(network.state_dict()[key], weights[key]) for key in weights), "of the model, not random"
    check_masks(tmp_path, empty=trained_bundle.name not in COMPARING)


@pytest.mark.slow
@pytest.mark.usefixtures("registered_once")
@pytest.mark.parametrize("name", UNTRAINED)
def test_inference_without_a_model(name: str, repository: Path, phantom_set: Path, tmp_path: Path) -> None:
    missing, _ = run_inference(repository / "bundles" / name, phantom_set, tmp_path, **small_inference(name))
    assert missing == []
    check_masks(tmp_path)


def test_metadata_follows_the_schema_of_the_zoo(bundle: Path, tmp_path: Path) -> None:
    """The schema is rebuilt from what meta_schema_20240725.json requires; a file that exists is not downloaded."""
    tensor = {"type": "object", "required": TENSOR_KEYS}
    tensors = {"type": "object", "additionalProperties": tensor}
    schema = {
        "type": "object",
        "required": [*TEXTS, "required_packages_version", "network_data_format"],
        "properties": {
            **{key: {"type": "string"} for key in TEXTS},
            **{key: {"type": "object"} for key in OBJECTS},
            "references": {"type": "array", "items": {"type": "string"}},
            "network_data_format": {
                "type": "object",
                "required": ["inputs", "outputs"],
                "properties": {"inputs": tensors, "outputs": tensors},
            },
        },
    }
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(file))


def test_metadata_names_this_version_and_what_it_needs(bundle: Path) -> None:
    # As MONAI reads it: it renames deprecated keys, over those that are there.
    parser = ConfigParser()
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    metadata = parser.get("_meta_")
    assert metadata["version"] in metadata["changelog"]
    assert "monai_fss" in metadata["required_packages_version"]
    assert metadata["schema"].endswith("meta_schema_20240725.json")
    formats = metadata["network_data_format"]
    assert next(iter(formats["inputs"])) == "image" and "pred" in formats["outputs"]
    if bundle.name in TRAINED:
        assert formats["outputs"]["pred"]["channel_def"]["0"] == "background"


def test_network_takes_and_gives_what_the_metadata_say(bundle: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.yaml"),
        device="cpu",
        p=1,
        n=1,
        any=1,
    )


@pytest.mark.slow
def test_model_exports_to_torchscript(trained_bundle: Path, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(file),
        ckpt_file=str(model),
        meta_file=str(trained_bundle / "configs" / "metadata.json"),
        config_file=str(trained_bundle / "configs" / "inference.yaml"),
        key_in_ckpt="model",
        **known_settings(trained_bundle, model),
    )
    exported, trained = torch.jit.load(file).state_dict(), read_model(model)["model"]
    # What a LocatedSegmenter knows of points serves its inferer alone.
    trained = {key: value for key, value in trained.items() if not key.startswith("point_")}
    assert trained.keys() <= exported.keys()
    assert all(torch.equal(exported[key], trained[key]) for key in trained)


@pytest.mark.slow
def test_conditioned_network_scripts_and_gives_the_same_logits(
    trained_bundle: Path, model: Path, tmp_path: Path
) -> None:
    if trained_bundle.name not in FEW_SHOT:
        pytest.skip(f"{trained_bundle.name} is not conditioned on labelled slices or volumes")
    network = network_of(trained_bundle, model)
    inputs = json.loads((trained_bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))[
        "network_data_format"
    ]["inputs"]
    shape = (inputs["image"]["num_channels"], *[32] * len(inputs["image"]["spatial_shape"]))
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(3, 2, 1, *shape[1:])
    label[..., 8:20, 8:20] = 1
    network.condition(torch.rand(3, 2, *shape, generator=generator), label)
    query = torch.rand(2, *shape, generator=generator)
    torch.jit.script(network).save(str(tmp_path / "conditioned.ts"))
    with torch.no_grad():
        logits, scripted = network(query), torch.jit.load(tmp_path / "conditioned.ts")(query)
    assert logits.shape == (2, 4, *shape[1:])
    torch.testing.assert_close(scripted, logits, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_training_command_from_the_root_and_from_the_bundle(training: Path, model: Path) -> None:
    commands = json.loads((training / "commands.json").read_text(encoding="utf-8"))
    assert commands == {"codes": [0, 0], "left": []} and model.is_file()
