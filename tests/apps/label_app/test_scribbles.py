# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles of one study: a mask at once, and the file that PRNet is trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_store import write_volume

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.scribbles import BACKGROUND, grow, merged_scribbles, read_marks, scribbled_study
from monai_fss.apps.label_app.studies import Study
from monai_fss.metrics import strict_dice

SLICER = [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}, {"name": "background_scribbles", "id": 3}]
SLICER += [{"name": "foreground_scribbles", "id": 4}]
PLAIN = {"label_info": [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}, {"name": "background", "id": 9}]}
SPACING = np.diag([2.0, 2.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Two organs of one brightness that touch, in darker tissue; and the mask of both."""
    mask = np.zeros((40, 40, 16), np.uint8)
    mask[8:20, 10:30, 4:12], mask[20:32, 10:30, 4:12] = 1, 2
    noise = np.random.default_rng(0).normal(0, 10, mask.shape)
    image = np.where(mask > 0, 800, 300) + noise
    return write_volume(tmp_path_factory.mktemp("cubes") / "a.nii.gz", image.astype(np.float32), SPACING), mask


def drawn(folder: Path, lines: dict[int, Any], segment: np.ndarray | None = None) -> Path:
    """A file of scribbles: lines along the second axis in one slice."""
    label = np.zeros((40, 40, 16), np.uint8) if segment is None else segment.copy()
    for value, places in lines.items():
        for x in places:
            label[x, 12:28, 8] = value
    return write_volume(folder / "scribbles.nii.gz", label, SPACING)


def test_slicers_scribbles_grow_to_the_organ(cubes: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """The other organ's segment keeps it from growing there; the organ's own segment is replaced."""
    image, mask = cubes
    segments = np.where(mask == 2, 2, 0).astype(np.uint8)
    segments[30:34, 2:6, 2] = 1
    file = drawn(tmp_path, {4: [14], 3: [4, 36]}, segments)
    marks = read_marks(image, file, {"label_info": SLICER, "selected_label_name": "liver"})
    assert list(marks.organs) == ["liver"] and int(marks.organs["liver"].sum()) == 16
    assert int(marks.background.sum()) == 32 and int(marks.others.sum()) == int((mask == 2).sum())
    grown = grow(image, marks)
    assert grown.names == {"liver": 1} and set(np.unique(grown.mask)) == {0, 1}
    assert strict_dice(grown.mask == 1, mask == 1) > 0.85


def test_scribbles_of_several_organs_grow_side_by_side(cubes: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    image, mask = cubes
    marks = read_marks(image, drawn(tmp_path, {1: [14], 2: [26], 9: [4, 36]}), PLAIN)
    grown = grow(image, marks)
    assert grown.names == {"liver": 1, "spleen": 2}
    assert all(strict_dice(grown.mask == value, mask == value) > 0.85 for value in (1, 2))


@pytest.mark.parametrize(
    ("lines", "request_", "told"),
    [
        ({1: [14], 5: [20]}, PLAIN, r"no name is given for the value\(s\) 5"),
        ({9: [4]}, PLAIN, "no organ is marked"),
        ({3: [4]}, {"label_info": SLICER}, "no organ is marked"),
        ({1: [14]}, {}, r"no name is given for the value\(s\) 1"),
    ],
)
def test_what_is_not_said_is_refused(
    cubes: tuple[Path, np.ndarray], tmp_path: Path, lines: dict[int, Any], request_: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        read_marks(cubes[0], drawn(tmp_path, lines), request_)


def test_scribbles_of_one_organ_after_another_are_kept_together(cubes: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    image, organs = cubes[0], {"liver": 1, "spleen": 2}
    first = read_marks(image, drawn(tmp_path, {1: [14, 15], 9: [4]}), PLAIN)
    second = read_marks(image, drawn(tmp_path, {2: [26], 9: [36]}), PLAIN)
    again = read_marks(image, drawn(tmp_path, {1: [13]}), PLAIN)
    label = merged_scribbles(again, organs, merged_scribbles(second, organs, merged_scribbles(first, organs, None)))
    rows = {value: sorted({int(x) for x in np.argwhere(label == value)[:, 0]}) for value in (1, 2, BACKGROUND)}
    assert rows == {1: [13], 2: [26], BACKGROUND: [4, 36]}
    with pytest.raises(UsageError, match="organ heart: has the value 255"):
        merged_scribbles(first, {**organs, "heart": 255}, None)


def test_the_scribbled_study_is_named_where_there_are_several() -> None:
    a, b, c = Study("a", Path("a"), Path("sa")), Study("b", Path("b"), Path("sb")), Study("c", Path("c"))
    assert scribbled_study([a, c]) == a and scribbled_study([a, b], "b") == b
    with pytest.raises(UsageError, match=r"2 studies have scribbles \(a, b\). Name one with the parameter support"):
        scribbled_study([a, b, c])
    with pytest.raises(UsageError, match="no study has scribbles. Draw some"):
        scribbled_study([c])
    with pytest.raises(UsageError, match="support c: has no scribbles. Studies with scribbles: a"):
        scribbled_study([a, c], "c")
