# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The 3-D bundle: its episodes, its recipe, and the commands with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Resample
from recipe_checks import check_paper, check_recipe, parsed
from segment_scene import CASES, Scene, make_scene

from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.data import read_model, save_model
from monai_fss.handlers.segment_report import read_quality
from monai_fss.results.files import read_results
from monai_fss.transforms import SupervoxelVolumeTabled

Settings = Callable[[str], dict[str, Any]]
pytestmark = pytest.mark.usefixtures("undrawn", "one_thread")


@pytest.fixture(scope="module")
def trained_3d(trained_once: Callable[[str], Path]) -> Path:
    return trained_once("adnet_3d")


@pytest.fixture
def scene(phantom_set: Path, trained_3d: Path, tmp_path: Path) -> Scene:
    return make_scene(tmp_path, phantom_set, trained_3d)


def parser_of(repository: Path, **settings: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(repository / "bundles" / "adnet_3d" / "configs" / "train.yaml"))
    for key, value in settings.items():
        parser[key] = value
    return parser


@pytest.mark.parametrize("positions", [True, False])
def test_episodes_of_the_bundle(
    positions: bool, repository: Path, phantom_set: Path, small: Settings, tmp_path: Path
) -> None:
    more: dict[str, Any] = {} if positions else {"position_axes": [], "position_weights": [], "zscore": True}
    parser = parser_of(
        repository, **small("adnet_3d"), **more, dataset_dir=str(phantom_set), output_dir=str(tmp_path / "out")
    )
    dataset = parser.get_parsed_content("train::dataset")
    channels = 4 if positions else 1
    apart = []
    for index in range(6):
        episode = dataset[index]
        assert episode["image"].shape == (channels, 64, 64, 6) and episode["label"].shape == (1, 64, 64, 6)
        assert episode["support_image"].shape == (1, channels, 64, 64, 6)
        assert episode["support_label"].shape == (1, 1, 64, 64, 6)
        assert set(episode["label"].unique().tolist()) == set(episode["support_label"].unique().tolist()) == {0, 1}
        assert all(torch.isfinite(value).all() and type(value) is torch.Tensor for value in episode.values())
        if positions:
            apart.append(float((episode["image"][3].mean() - episode["support_image"][0, 3].mean()).abs()))
        again = dataset[index]
        assert all(torch.equal(episode[key], again[key]) for key in episode)
    assert not positions or max(apart) > 0.3  # the query's window lies elsewhere along the body


@pytest.mark.parametrize("recipe", [None, "paper"])
def test_no_voxel_of_a_warped_window_is_padding_where_the_scan_is_large_enough(recipe: str | None) -> None:
    """A scan of ones, beyond which there are zeros. Cut first and then transformed, a window loses a good part."""
    parser = parsed("adnet_3d", recipe)
    parser["train::sample::padding_modes"], parser["size"] = "zeros", [96, 96, 10]
    sample = parser.get_parsed_content("train::sample")
    sample.set_random_state(seed=0)
    organ = torch.zeros(1, 170, 170, 90, dtype=torch.int32)
    organ[:, 45:125, 45:125, 42:48] = 1
    ones = torch.ones(organ.shape)
    scan = {"image": ones, "position": ones, "supervoxels": MetaTensor(organ)}
    scan = SupervoxelVolumeTabled("supervoxels")(scan)
    cut_first = Resample(padding_mode="zeros")
    shares, before = [], []
    for _ in range(8):
        drawn = sample(scan)
        shares += [float((drawn[key] < 0.999).float().mean()) for key in ("image", "support_image", "position")]
        before.append(float((cut_first(ones[:, :96, :96, :10], sample.warp([96, 96, 10])) < 0.999).float().mean()))
        assert drawn["label"].any() and drawn["support_label"].any()
    assert max(shares) == 0
    assert np.mean(before) > (0.2 if recipe is None else 0.4)


def test_the_paper_has_its_own_window_and_encoder(repository: Path) -> None:
    configs = repository / "bundles" / "adnet_3d" / "configs"
    whole = config_keys([configs / "train.yaml", configs / "paper.yaml"])
    assert whole["settings"].keys() <= config_keys([configs / "inference.yaml"]).keys()
    check_paper("adnet_3d", [215, 215, 10], ("resnext101_3d", "compact_3d"), steps=50000, factor=0.98)


def test_every_recipe_is_known_here() -> None:
    assert set(Method("adnet_3d").recipes) == {"paper", "no_position"}


@pytest.mark.parametrize(("name", "positions"), [(None, 3), ("no_position", 0)])
def test_recipe(name: str | None, positions: int) -> None:
    expected = {"kappa": 0.5, "align": 1.0, "compact": 1.0, "supervoxel_ml": 60.0, "superpixels": None}
    check_recipe("adnet_3d", name, expected | {"positions": positions})


def read(path: Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


@pytest.mark.slow
@pytest.mark.parametrize("slices", ["middle", "all"])
def test_the_segment_command(slices: str, scene: Scene) -> None:
    assert read_model(scene.model)["settings"]["encoder"] == "compact_3d"
    command = ["segment", "--bundle", "adnet_3d", "--model", str(scene.model), "--support-image", str(scene.support)]
    command += ["--support-label", str(scene.label), "--images", str(scene.images), "--labels", "1,4"]
    assert main([*command, "--support-slices", slices, "--output", str(scene.root / "out")]) == 0
    out = scene.root / "out"
    for case in CASES:
        mask = read(out / f"{case}.nii.gz")
        assert mask.shape == read(scene.images / f"{case}.nii.gz").shape
        assert set(np.unique(mask)) <= {0, 1, 4} and (mask > 0).any()
    rows = read_quality(out / "quality.csv")
    assert len(rows) == 2 * len(CASES) and all(0 <= float(row["quality"]) <= 1 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["ep1", "ep2"])
def test_the_evaluate_command(protocol: str, phantom_set: Path, trained_3d: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--bundle", "adnet_3d", "--model", str(trained_3d / "model.pt"), "--data", str(phantom_set)]
    command += ["--protocol", protocol, "--fold", "0", "--output", str(tmp_path / "out")]
    assert main([*command, *(["--support-slices", "all"] if protocol == "ep2" else [])]) == 0
    entries = read_results(tmp_path / "out").entries
    assert {entry.method for entry in entries} == {"adnet_3d", "untrained network", "mask paste"}
    assert all(0 <= entry.dice <= 1 for entry in entries)


@pytest.mark.parametrize("window", [(256, 256, 40), (256, 256, 1)])
def test_how_much_of_a_labelled_scan_is_encoded_at_once(
    window: tuple[int, int, int], repository: Path, small: Settings, tmp_path: Path
) -> None:
    """A setting of the model: inference and quality use what training has noted."""
    parser = parser_of(repository, **small("adnet_3d"), support_window=list(window))
    network = parser.get_parsed_content("network_def")
    settings = parser.get_parsed_content("settings")
    assert settings["support_window"] == list(window) and network.support_window == list(window)
    save_model(tmp_path / "model.pt", network, settings)
    trained = read_model(tmp_path / "model.pt")["settings"]
    assert inference_parser(Method("adnet_3d"), trained, {}).get_parsed_content("network_def").support_window == list(
        window
    )
