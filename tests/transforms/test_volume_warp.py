# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One side of an episode of volumes sees the scan transformed: what the whole scan, transformed and then cut, shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Affine, RandAffineGrid

from monai_fss.transforms import SampleVolumeEpisode, SupervoxelVolumeTabled

MODES = {"image": ("bilinear", "reflection"), "position": ("bilinear", "border"), "label": ("nearest", "reflection")}


class Noted(SampleVolumeEpisode):
    """Notes where it cuts: first slices and places in plane, the support's first."""

    def _draw(self, table: np.ndarray) -> tuple[int, int, int]:
        drawn = super()._draw(table)
        self.first, self.windows = drawn[1:], []
        return drawn

    def _window(self, mask: torch.Tensor) -> tuple[slice, ...]:
        window = super()._window(mask)
        self.windows.append(window)
        return window


def item(supervoxels: np.ndarray) -> dict[Any, Any]:
    """An image of noise, and the rows and columns of its voxels for a position."""
    noise = np.random.default_rng(1).random((1, *supervoxels.shape), np.float32)
    data: dict[Any, Any] = {
        "image": MetaTensor(torch.from_numpy(noise)),
        "position": MetaTensor(torch.from_numpy(np.indices(supervoxels.shape)[:2].astype(np.float32))),
        "supervoxels": MetaTensor(torch.from_numpy(supervoxels)[None]),
    }
    return SupervoxelVolumeTabled("supervoxels")(data)


def block(shape: tuple[int, int, int], rows: slice, columns: slice, slices: slice) -> np.ndarray:
    array = np.zeros(shape, np.int32)
    array[rows, columns, slices] = 1
    return array


def sampler(warp: RandAffineGrid, size: tuple[int, int, int] = (16, 20, 6), seed: int = 0, **more: Any) -> Noted:
    own: dict[str, Any] = {"volume_keys": ("image", "position"), "padding_modes": ("reflection", "border")}
    episode = Noted(size, min_volume=20.0, warp=warp, **{**own, **more})
    episode.set_random_state(seed=seed)
    return episode


def moved(rows: float = 0.0, columns: float = 0.0, slices: float = 0.0) -> RandAffineGrid:
    """Always by so many voxels: what lay there is seen here."""
    return RandAffineGrid(translate_range=[(rows, rows), (columns, columns), (slices, slices)])


def sides(data: dict[Any, Any], drawn: dict[str, torch.Tensor], episode: Noted) -> dict[str, bool]:
    """Of each side whether it is what a plain cut gives."""
    plain = {}
    for prefix, first, window in zip(("support_", ""), episode.first, episode.windows, strict=True):
        cut = data["image"].as_tensor()[(slice(None), *window, slice(first, first + episode.slices))]
        plain[prefix] = torch.equal(drawn[prefix + "image"], cut)
    return plain


def test_a_window_is_that_of_the_whole_scan_transformed() -> None:
    warp = RandAffineGrid(
        rotate_range=(0.05, 0.05, 0.2),
        shear_range=(0.1,) * 6,
        translate_range=(3, 3, 1),
        scale_range=((-0.1, 0.2),) * 3,
    )
    data = item(block((40, 50, 18), slice(10, 34), slice(24, 36), slice(4, 15)))
    organ = (data["supervoxels"] == 1).float()
    episode, beyond = sampler(warp), 0
    for _ in range(12):
        drawn = episode(data)
        prefix = next(side for side, plain in sides(data, drawn, episode).items() if not plain)
        number = ("support_", "").index(prefix)
        place = (slice(None), *episode.windows[number], slice(episode.first[number], episode.first[number] + 6))
        parameters: dict[str, Any] = {name: getattr(warp, name) for name in ("rotate_params", "shear_params")}
        parameters |= {name: getattr(warp, name) for name in ("translate_params", "scale_params")}
        for key, (mode, padding) in MODES.items():
            whole = Affine(**parameters, mode=mode, padding_mode=padding, dtype=np.float32, image_only=True)
            expected = torch.as_tensor(whole(organ if key == "label" else data[key]))[place]
            found = drawn[prefix + key]
            assert found.shape == expected.shape and type(found) is torch.Tensor
            if key == "label":  # a voxel between two may go to either
                assert (found != expected).float().mean() < 1e-3 and found.unique().tolist() == [0, 1]
            else:
                torch.testing.assert_close(found, expected.as_tensor(), rtol=0, atol=2e-4)
        seen = Affine(**parameters, padding_mode="zeros", image_only=True)(torch.ones_like(organ))[place]
        beyond += bool((seen < 0.99).any())
    assert beyond >= 3, "some windows reach beyond the scan, where the padding is compared as well"


def test_beyond_the_scan_there_is_its_mirror_image_and_the_position_of_the_border() -> None:
    data = item(block((16, 20, 6), slice(10, 16), slice(2, 9), slice(0, 6)))
    episode = sampler(moved(rows=3), seed=1)  # the window is the scan
    rows = np.pad(np.arange(16), (0, 3), "symmetric")[3:]
    assert rows[-4:].tolist() == [15, 15, 14, 13]
    drawn = episode(data)
    (prefix,) = (side for side, plain in sides(data, drawn, episode).items() if not plain)
    torch.testing.assert_close(drawn[f"{prefix}image"], data["image"].as_tensor()[:, rows], rtol=0, atol=1e-5)
    expected = data["position"].as_tensor()[:, np.minimum(np.arange(3, 19), 15)]
    torch.testing.assert_close(drawn[f"{prefix}position"], expected, rtol=0, atol=1e-4)
    assert torch.equal(drawn[f"{prefix}label"], (data["supervoxels"].as_tensor() == 1).float()[:, rows])


def test_what_lies_beyond_the_window_is_drawn_from_the_scan() -> None:
    """A shift by 5 rows of a scan larger than the window brings 5 new rows, whatever the padding."""
    data = item(block((40, 50, 12), slice(14, 26), slice(20, 30), slice(4, 8)))
    episode = sampler(moved(rows=5.0), padding_modes="zeros")
    for _ in range(6):
        drawn = episode(data)
        (prefix,) = (side for side, plain in sides(data, drawn, episode).items() if not plain)
        number = ("support_", "").index(prefix)
        rows, columns = episode.windows[number]
        slices = slice(episode.first[number], episode.first[number] + 6)
        there = data["image"].as_tensor()[:, rows.start + 5 : rows.stop + 5, columns, slices]
        torch.testing.assert_close(drawn[f"{prefix}image"], there, rtol=0, atol=1e-4)
        assert drawn["label"].sum() > 0 and drawn["support_label"].sum() > 0


def test_the_place_in_plane_is_that_of_the_transformed_supervoxel() -> None:
    """7 of 40 rows further up, the supervoxel is whole in a window of 16 rows that is cut afterwards."""
    data = item(block((40, 50, 6), slice(20, 30), slice(20, 30), slice(1, 5)))
    episode, places = sampler(moved(rows=7)), {True: set[int](), False: set[int]()}
    for _ in range(40):
        drawn = episode(data)
        for prefix, window in zip(("support_", ""), episode.windows, strict=True):
            assert drawn[f"{prefix}label"].sum() == 10 * 10 * 4
            places[sides(data, drawn, episode)[prefix]].add(window[0].start)
    assert places[True] == set(range(14, 21)) and places[False] == set(range(7, 14))


def test_one_side_is_changed_each_as_often() -> None:
    data = item(block((40, 50, 12), slice(14, 26), slice(20, 30), slice(2, 10)))
    episode = sampler(moved(rows=1, columns=2))
    plain = [sides(data, episode(data), episode) for _ in range(80)]
    assert all(sorted(one.values()) == [False, True] for one in plain)
    assert 25 < sum(one["support_"] for one in plain) < 55


def test_a_side_that_loses_the_supervoxel_stays_as_it_was() -> None:
    data = item(block((40, 50, 30), slice(14, 26), slice(20, 30), slice(4, 5)))
    episode = sampler(moved(slices=14))
    for _ in range(10):
        drawn = episode(data)
        assert all(sides(data, drawn, episode).values())
        assert drawn["label"].sum() == drawn["support_label"].sum() == 120


def test_no_channel_of_a_position_is_none() -> None:
    data = item(block((40, 50, 12), slice(14, 26), slice(20, 30), slice(2, 10)))
    data["position"] = data["position"][:0]
    drawn = sampler(moved(rows=1))(data)
    assert drawn["position"].shape == drawn["support_position"].shape == (0, 16, 20, 6)


def test_the_same_state_draws_the_same_warp() -> None:
    data = item(block((40, 50, 12), slice(14, 26), slice(20, 30), slice(2, 10)))
    turned = [RandAffineGrid(rotate_range=(0.1, 0.1, 0.1), translate_range=(2, 2, 1)) for _ in range(2)]
    one, two = (sampler(warp, seed=5) for warp in turned)
    found = []
    for _ in range(3):
        a, b = one(data), two(data)
        assert all(torch.equal(a[key], b[key]) for key in a)
        found.append(one.warp.translate_params)  # type: ignore[union-attr]
    assert found[0] != found[1]


def test_padding_modes_are_one_for_each_volume() -> None:
    with pytest.raises(ValueError, match="must have length 2, got 3"):
        sampler(moved(), padding_modes=("zeros", "zeros", "border"))
