# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Setting 1 or 2 is a key of every bundle's training configuration: which slices it trains on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from installed_bundles import FEW_SHOT, is_volumetric, settings_in
from monai.bundle import ConfigParser
from monai.transforms import Compose

from monai_fss.data import DatasetFolder, InputWarning, scan_item
from monai_fss.transforms import SliceRanged

FOLDER = Path(__file__).resolve().parents[2] / "bundles"
Settings = Callable[[str], dict[str, Any]]


def parsed(bundle: str, **settings: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(FOLDER / bundle / "configs" / "train.yaml"))
    for key, value in settings.items():
        parser[key] = value
    return parser


def shown(label: Path, values: list[int]) -> dict[float, bool]:
    """Height of each slice, mm, to whether it shows one of the values; the phantoms are stored LAS."""
    image: Any = nib.Nifti1Image.from_filename(label)
    shows = np.isin(np.asarray(image.dataobj), values).any(axis=(0, 1))
    return {round(float(image.affine[2, 2] * z + image.affine[2, 3]), 3): bool(s) for z, s in enumerate(shows)}


def long_runs(shows: list[bool], shortest: int) -> int:
    """How many slices lie in runs of so many or more that show nothing."""
    lengths = [len(list(run)) for show, run in groupby(shows) if not show]
    return sum(length for length in lengths if length >= shortest)


@pytest.mark.parametrize(
    ("bundle", "classes"), [*((name, [2, 3]) for name in FEW_SHOT), ("adnet", [1, 4]), ("adnet_3d", [1, 4])]
)  # kidneys, and liver and spleen
def test_in_setting_2_no_training_volume_has_a_slice_of_a_left_out_class(
    bundle: str, classes: list[int], phantom_set: Path, small: Settings, tmp_path: Path
) -> None:
    parser = parsed(
        bundle,
        **small(bundle),
        dataset_dir=str(phantom_set),
        output_dir=str(tmp_path),
        setting=2,
        test_classes=classes,
        min_area=100,
    )
    items, episodes = parser.get_parsed_content("items"), parser.get_parsed_content("train::dataset")
    cases = DatasetFolder.read(phantom_set).cases.values()
    slices = {str(case.image): shown(case.label, classes) for case in cases if case.label is not None}
    seen: Counter[str] = Counter()
    for item, volume in zip(items, episodes.scans, strict=True):
        image = volume["image"]
        bright = np.flatnonzero(np.asarray(image[0].amax((0, 1)) > 0))  # others are padding
        heights = [round(float(image.affine[2, 2] * z + image.affine[2, 3]), 3) for z in bright]
        assert [slices[item["image"]][height] for height in heights] == [False] * len(heights)
        assert len(heights) == item["slices"][1] - item["slices"][0]
        assert volume["supervoxels"].shape[-1] == image.shape[-1] == volume["position"].shape[-1]
        seen[item["image"]] += len(heights)
    shortest = 1 if settings_in(bundle).get("self_supervision") == "superpixels" else 2  # they need no neighbour
    free = {image: long_runs([shows[z] for z in sorted(shows)], shortest) for image, shows in slices.items()}
    assert max(free.values()) < 12 and seen == free
    assert len(list((tmp_path / "cache").glob("*.pt"))) == len(items)
    episode = episodes[0]
    assert episode["label"].any() and episode["support_label"].any()


@pytest.mark.parametrize("bundle", FEW_SHOT)
def test_in_setting_1_items_and_draws_are_those_of_before(
    bundle: str, phantom_set: Path, small: Settings, tmp_path: Path
) -> None:
    settings = {**small(bundle), "episodes": "pseudo_labels"}
    parser = parsed(bundle, **settings, dataset_dir=str(phantom_set), output_dir=str(tmp_path))
    items = [scan_item(case.image) for case in DatasetFolder.read(phantom_set).cases.values()]
    assert parser.get_parsed_content("items") == items
    episodes = parser.get_parsed_content("train::dataset")
    assert parser["train::dataset::data"] == "@items", "MONAI Label sets it"
    assert parser.get_parsed_content("train::preprocessing") is episodes.transform
    assert episodes.data == items and list(episodes.volumes.indices) == [0, 1, 2, 3]


@pytest.mark.parametrize("bundle", FEW_SHOT)
def test_a_run_is_scaled_and_located_as_a_part_of_its_whole_scan(
    bundle: str, phantom_set: Path, small: Settings, tmp_path: Path
) -> None:
    settings = {**small(bundle), "dataset_dir": str(phantom_set), "setting": 2, "test_classes": [2, 3], "zscore": True}
    parser = parsed(bundle, **settings, output_dir=str(tmp_path))
    prepare, crop = parser.get_parsed_content("prepare"), SliceRanged(["image", "position"])
    item = parser.get_parsed_content("items")[-1]
    first, stop = item["slices"]
    part, whole = Compose([prepare, crop])(item), prepare(item)
    assert 0 < first < stop
    for key in ("image", "position"):
        assert np.array_equal(part[key], whole[key][..., first:stop])


@pytest.mark.parametrize("bundle", FEW_SHOT)
def test_the_best_network_is_not_chosen_by_the_classes_left_out(
    bundle: str, phantom_set: Path, small: Settings, tmp_path: Path
) -> None:
    settings = {**small(bundle), "dataset_dir": str(phantom_set), "output_dir": str(tmp_path), "val_queries": 1}
    one = parsed(bundle, **settings)
    two = parsed(bundle, **settings, setting=2, test_classes=[2, 3])
    assert one.get_parsed_content("validate::evaluator").values == [1, 2, 3, 4, 5]
    evaluator = two.get_parsed_content("validate::evaluator")
    support = evaluator.support
    assert evaluator.values == [1, 4, 5] == list(support.values)
    assert support.image.shape[0] == 3 and min(support.shots) > 0
    none = parsed(bundle, **settings, setting=2, test_classes=[1, 2, 3, 4, 5])
    with pytest.warns(InputWarning, match="not validated"):
        assert none.get_parsed_content("val_items") == []
    assert none.get_parsed_content("validate::evaluator").support is None


@pytest.mark.parametrize("bundle", FEW_SHOT)
@pytest.mark.parametrize("file", ["train.yaml", "multi_gpu_train.yaml"])
def test_it_is_checked_before_anything_is_built(file: str, bundle: str) -> None:
    files = ["train.yaml", *([file] if file != "train.yaml" else [])]
    parser = ConfigParser(ConfigParser.load_config_files([str(FOLDER / bundle / "configs" / name) for name in files]))
    arguments = "@dataset_dir, @cases, @leave_out, @shortest, @test_classes if @labelled else None"
    assert f"$fss_data.check_left_out({arguments})" in parser["initialize"]


@pytest.mark.parametrize("zscore", [True, False])
@pytest.mark.parametrize("bundle", FEW_SHOT)
def test_images_are_kept_in_0_to_1_only_where_they_are(bundle: str, zscore: bool) -> None:
    """The side of a z-scored episode that became brighter keeps its values below 0 and above 1."""
    augment = parsed(bundle, zscore=zscore, contrast_prob=1.0).get_parsed_content("train::augmentation")
    contrast = augment.transforms[0]
    contrast.set_random_state(seed=0)
    dims = 3 if is_volumetric(bundle) else 2
    image = torch.linspace(-2, 3, 8**dims).reshape(1, *[8] * dims)
    label = torch.zeros_like(image)
    side = {"image": image, "label": label}  # nothing is marked: nothing changes
    changed = contrast({**side, **{f"support_{key}": value for key, value in side.items()}})
    values = [changed["image"], changed["support_image"]]
    least, most = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    assert (least, most) == (-2, 3)
    clipped = sum(not torch.allclose(v, image, atol=1e-5) for v in values)
    assert clipped == (0 if zscore else 1)
