# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which labelled studies a query is segmented by, and which study comes next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from label_store import FakeStore, write_volume

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.choose import QUALITY, any_unlabelled, next_to_label, quality_note, worst_quality_first
from monai_fss.apps.label_app.studies import asked_study, studies_of
from monai_fss.apps.label_app.support import choose_support, most_alike
from monai_fss.data import ContentCache
from monai_fss.registration import scan_distances
from monai_fss.registration.body import RegistrationError

LABEL = np.ones((4, 4, 4), np.int16)
# Radius of the organ of each study, mm: `a` is like `b`, and `d` like none.
ORGANS = {"a": 30, "b": 34, "c": 50, "d": 70}


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return FakeStore(tmp_path, {"a": (LABEL, {}), "b": (LABEL, {}), "c": (None, {})})


@pytest.fixture
def balls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """Scans in one world: registration is the identity, but for one that cannot be registered."""
    x, y, z = np.meshgrid(*[np.arange(-115, 120, 10.0)] * 3, indexing="ij")
    store = FakeStore(tmp_path, {name: (None, {}) for name in ORGANS})
    for name, radius in ORGANS.items():
        image = 400 * (x**2 + y**2 + z**2 < 110**2)
        image[x**2 + y**2 + z**2 < radius**2] = 900
        write_volume(tmp_path / f"{name}.nii.gz", image.astype(np.int16), np.diag([10.0, 10, 10, 1]))

    monkeypatch.setattr(scan_distances, "affine", lambda fixed, moving: np.eye(4))
    return store


def label(store: FakeStore, name: str) -> None:
    write_volume(store.folder / "labels" / "final" / f"{name}.nii.gz", LABEL)


def test_all_labelled_studies_but_the_query(store: FakeStore) -> None:
    studies = studies_of(store)
    assert [study.name for study in choose_support(studies, studies[2].image)] == ["a", "b"]
    assert [study.name for study in choose_support(studies, studies[0].image)] == ["b"]
    copy = store.folder / "sent.nii.gz"
    copy.write_bytes(studies[1].image.read_bytes())
    assert [study.name for study in choose_support(studies, copy)] == ["a"]


def test_a_study_comes_before_a_file_that_is_called_like_it(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the folder where the server was started."""
    monkeypatch.chdir(store.folder)
    (store.folder / "a").mkdir()
    (store.folder / "other").mkdir()
    studies = studies_of(store)
    assert asked_study(studies, "a") == studies[0] and asked_study(studies, "other") is None
    with pytest.raises(UsageError, match="study 'd': is not in the datastore, which holds a, b, c"):
        asked_study(studies, "d")


def test_any_study_without_a_label(store: FakeStore) -> None:
    assert any_unlabelled(studies_of(store)) == {"id": "c", "why": "by chance"}
    label(store, "c")
    with pytest.raises(UsageError, match="all 3 studies have a final label"):
        any_unlabelled(studies_of(store))


def test_those_that_are_named_in_their_order(store: FakeStore) -> None:
    studies = studies_of(store)
    assert [study.name for study in choose_support(studies, studies[2].image, ["b", "a", "b"])] == ["b", "a"]
    with pytest.raises(UsageError) as error:
        choose_support(studies, studies[0].image, ["a", "c", "x"])
    assert [problem.split(".")[0] for problem in error.value.problems] == [
        "support a: is the study that is to be segmented",
        "support c: has no label with the tag 'final'",
        "study 'x': is not in the datastore, which holds a, b, c",
    ]


def test_without_another_label_there_is_nothing_to_segment_by(tmp_path: Path) -> None:
    studies = studies_of(FakeStore(tmp_path, {"a": (LABEL, {}), "c": (None, {})}))
    with pytest.raises(UsageError, match="no study of the datastore besides this one has a label"):
        choose_support(studies, studies[0].image)
    with pytest.raises(UsageError, match="no study of the datastore has a label"):
        choose_support(studies[1:], studies[1].image)


def test_the_most_alike_in_the_order_given(balls: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c, d = studies_of(balls)
    cache = ContentCache(balls.folder / "cache")
    assert most_alike([d, c, b], a.image, 1, cache) == [b]
    calls: list[int] = []
    monkeypatch.setattr(scan_distances, "affine", lambda *scans: calls.append(1))
    assert most_alike([d, c, b], a.image, 2, cache) == [c, b] and not calls, "known from the cache"
    assert most_alike([d, c], a.image, 0) == [d, c] and most_alike([d, c], a.image, 5) == [d, c]


def test_what_cannot_be_registered_is_least_alike(balls: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _, d = studies_of(balls)
    failed: list[int] = []

    def affine(fixed: object, moving: object) -> np.ndarray:
        failed.append(1)
        if len(failed) == 1:  # the first of the two: b
            raise RegistrationError("no body")
        return np.eye(4)

    monkeypatch.setattr(scan_distances, "affine", affine)
    assert most_alike([b, d], a.image, 1) == [d]


def test_the_next_to_label_by_the_rule_of_suggest(balls: FakeStore) -> None:
    first = next_to_label(studies_of(balls), balls.folder)
    assert first["why"] == "closest to the average" and first["nearest_labelled"] is None
    label(balls, "b")
    second = next_to_label(studies_of(balls), balls.folder)
    assert second["id"] == "d" and second["why"] == "worst covered so far" and second["nearest_labelled"] > 0


def test_studies_that_cannot_be_read_are_passed_over(balls: FakeStore) -> None:
    (balls.folder / "d.nii.gz").write_bytes(b"no scan")
    label(balls, "b")
    found = next_to_label(studies_of(balls), balls.folder)
    assert found["id"] == "c" and str(balls.folder / "d.nii.gz") in found["passed_over"][0]
    for name in ("a", "c"):
        label(balls, name)
    with pytest.raises(UsageError, match="all 3 studies that can be read have a final label"):
        next_to_label(studies_of(balls), balls.folder)


def test_the_lowest_quality_is_reviewed_first(store: FakeStore) -> None:
    with pytest.raises(UsageError, match="none of the 1 studies without a final label has a mask with a quality"):
        worst_quality_first(studies_of(store))
    made = FakeStore(store.folder / "more", {name: (None, {}) for name in "pqrs"} | {"done": (LABEL, {})})
    for name, mean, worst in (("p", 0.8, 0.5), ("q", 0.7, 0.5), ("r", 0.6, 0.55), ("done", 0.1, 0.1)):
        told = {"quality": mean, "worst_quality": worst, "support": ["done"], "organs": []}
        made.known[name] = quality_note(told, "atlas")
    made.known["s"] = {QUALITY: {"quality": None, "worst_quality": None, "support": [], "model": "atlas"}}
    found = worst_quality_first(studies_of(made))
    assert found == {"id": "q", "why": "lowest quality of an organ", "quality": 0.7, "worst_quality": 0.5}
