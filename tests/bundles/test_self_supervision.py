# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""pSSL or vSSL is a switch of the training configuration: what episodes are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from installed_bundles import FEW_SHOT, SWITCHED, is_volumetric, settings_in
from monai.bundle import ConfigParser
from monai.transforms import Compose

from monai_fss.data import LabelledEpisodes

PSEUDO = {"episodes": "pseudo_labels"}  # SE-Net's are of labels by default


def parsed(bundle: str, repository: Path, settings: dict[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(repository / "bundles" / bundle / "configs" / "train.yaml"))
    for key, value in settings.items():
        parser[key] = value
    return parser


def test_every_2d_bundle_that_is_trained_has_the_switch() -> None:
    assert [name for name in FEW_SHOT if not is_volumetric(name)] == SWITCHED and SWITCHED


@pytest.mark.parametrize("bundle", SWITCHED)
@pytest.mark.parametrize("word", ["superpixels", "supervoxels"])
def test_episodes_are_one_slice_or_two(
    word: str, bundle: str, repository: Path, phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    settings = small(bundle) | {
        "dataset_dir": str(phantom_set),
        "self_supervision": word,
        "episodes": "pseudo_labels",
        "output_dir": str(tmp_path),
    }
    parser = parsed(bundle, repository, settings)
    episodes = parser.get_parsed_content("train::dataset")
    item, episode = episodes.scans[0], episodes.transform.transforms[0]
    labels = np.asarray(item["supervoxels"][0])
    slices = [np.flatnonzero((labels == i).any(axis=(0, 1))).size for i in range(1, labels.max() + 1)]
    episode.set_random_state(seed=0)
    drawn = [episode(item) for _ in range(5)]
    same = [torch.equal(one["image"], one["support_image"]) for one in drawn]
    if word == "superpixels":
        assert set(slices) == {1} and all(same)
        assert all(torch.equal(one["label"], one["support_label"]) for one in drawn)
    else:
        assert max(slices) > 2 and not any(same)


@pytest.mark.parametrize("bundle", SWITCHED)
def test_another_word_is_an_error_in_words(bundle: str, repository: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        parsed(bundle, repository, PSEUDO | {"self_supervision": "pixels"}).get_parsed_content("superpixels")
    assert "self_supervision: 'pixels' is unknown. Set supervoxels or superpixels." in str(error.value.__cause__)


@pytest.mark.parametrize("bundle", SWITCHED)
@pytest.mark.parametrize("word", ["superpixels", "supervoxels"])
def test_superpixels_transform_the_query_supervoxels_either_side(
    word: str, bundle: str, repository: Path, phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    """What is drawn comes out of the transforms unchanged on the other side."""
    settings = small(bundle) | {
        "dataset_dir": str(phantom_set),
        "self_supervision": word,
        "episodes": "pseudo_labels",
        "position_jitter": 0.0,
    }
    settings |= {"contrast_prob": 1.0, "min_area": 100, "output_dir": str(tmp_path)}
    parser = parsed(bundle, repository, settings)
    episodes = parser.get_parsed_content("train::dataset")
    item, (draw, *rest) = episodes.scans[0], episodes.transform.transforms
    changed: dict[str, list[bool]] = {"support_": [], "": []}
    for seed in range(12):
        draw.set_random_state(seed=seed)
        plain = draw(item)
        episode = Compose(rest).set_random_state(seed=seed)(dict(plain))
        for prefix, found in changed.items():
            image, label = (episode[prefix + key].squeeze(0)[:1] for key in ("image", "label"))
            same = torch.equal(image.squeeze(), plain[prefix + "image"].squeeze())
            found.append(not (same and torch.equal(label.squeeze(), plain[prefix + "label"].squeeze())))
    if word == "superpixels":
        assert changed == {"support_": [False] * 12, "": [True] * 12}
    else:
        assert any(changed["support_"]) and any(changed[""]) and all(map(max, *changed.values()))


@pytest.mark.parametrize("bundle", FEW_SHOT)
def test_episodes_of_labels_are_of_two_scans_and_of_no_test_class(
    bundle: str, repository: Path, phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    """A switch of every few-shot bundle; in setting 1 scans are whole, in setting 2 runs of slices."""
    settings = small(bundle) | {"dataset_dir": str(phantom_set), "episodes": "labels", "test_classes": [2, 3]}
    settings |= {"output_dir": str(tmp_path)}
    pieces, channels = {}, int(settings_in(bundle)["position_axes"] != []) * 3 + 1
    for setting in (1, 2):
        parser = parsed(bundle, repository, settings | {"setting": setting})
        episodes = parser.get_parsed_content("train::dataset")
        assert isinstance(episodes, LabelledEpisodes) and 1 in episodes.shown and not {2, 3} & episodes.shown.keys()
        assert {int(v) for scan in episodes.scans for v in scan["supervoxels"].unique()} <= {0, 1, 4, 5}
        first = episodes[0]
        size = (64, 64, 6)[: 3 if is_volumetric(bundle) else 2]
        assert first["image"].shape == (channels, *size) and first["support_image"].shape == (1, channels, *size)
        assert first["support_label"].any() and set(first["support_label"].unique().tolist()) == {0, 1}
        pieces[setting] = len(episodes.scans)
    assert pieces[1] == 4 < pieces[2]


def test_another_kind_of_episode_is_an_error_in_words(repository: Path, phantom_set: Path, tmp_path: Path) -> None:
    settings = {"dataset_dir": str(phantom_set), "episodes": "organs", "output_dir": str(tmp_path)}
    with pytest.raises(RuntimeError) as error:
        parsed("panet", repository, settings).get_parsed_content("train::dataset")
    assert "episodes: 'organs' is unknown. Set pseudo_labels or labels." in str(error.value.__cause__)
