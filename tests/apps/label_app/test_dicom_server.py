# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels that viewers have put on a server of DICOM, without MONAI Label, and without such a server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_store import FakeStore, write_volume

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app import dicom_server
from monai_fss.apps.label_app.dicom_server import ServerLabels, check_segments, read_seg
from monai_fss.apps.label_app.organs import organs_of
from monai_fss.apps.label_app.studies import studies_of


def header(series: str, image: str | None, day: str, *names: str) -> dict[str, Any]:
    """Of a DICOM-SEG, as a server sends it."""
    segments = [
        {"00620004": {"vr": "US", "Value": [number]}, "00620005": {"vr": "LO", "Value": [name]}}
        for number, name in enumerate(names, 1)
    ]
    content: dict[str, Any] = {"0020000D": {"Value": ["1.2"]}, "0020000E": {"Value": [series]}, "00080023": {}}
    content |= {"00080021": {"Value": [day]}, "00620002": {"Value": segments}}
    return content | ({"00081115": {"Value": [{"0020000E": {"Value": [image]}}]}} if image else {})


class Client:
    """A server with some DICOM-SEG; it counts what is asked of it."""

    def __init__(self, *headers: dict[str, Any]) -> None:
        self.headers, self.asked = list(headers), 0

    def search_for_series(self, search_filters: dict[str, str]) -> list[dict[str, Any]]:
        assert search_filters == {"Modality": "SEG"}
        return [{key: one[key] for key in ("0020000D", "0020000E")} for one in self.headers]

    def retrieve_series_metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        assert study == "1.2"
        self.asked += 1
        return [one for one in self.headers if one["0020000E"]["Value"] == [series]]


class Store(FakeStore):
    """MONAI Label's, on a server."""

    def __init__(self, folder: Path, client: Client) -> None:
        super().__init__(folder, {name: (None, {}) for name in ("1.5", "1.6")})
        self._client = client

    def save_label(self, image: str, file: str, tag: str, info: dict[str, Any]) -> None:
        target = self.folder / "labels" / tag / f"{image}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        self.infos[image] = info


@pytest.fixture
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_server, "FRESH", 0.0)


def labels_of(store: Store, downloaded: list[str]) -> ServerLabels:
    """Those of a store; segments 1 and 2 are drawn in each."""

    def download(study: str, series: str, folder: str, client: Client) -> None:
        assert study == "1.2" and client is store._client
        downloaded.append(series)

    def convert(folder: str, ending: str) -> str:
        if downloaded[-1] == "bad":
            raise ValueError("segments overlap")
        voxels = np.zeros((4, 4, 4), np.uint8)
        voxels[0, 0, :2] = [1, 2]
        return str(write_volume(store.folder / "made" / f"seg{ending}", voxels))

    return ServerLabels(store, Store, download, convert)


@pytest.mark.usefixtures("always_fresh")
def test_the_newest_of_a_study_is_its_label_with_its_names(tmp_path: Path) -> None:
    old, new = header("9.1", "1.5", "20240101", "spleen"), header("9.2", "1.5", "20240301", "liver", "spleen")
    client = Client(new, old, header("9.3", "7.7", "20240301", "liver"), header("9.4", None, "20240301", "liver"))
    store, downloaded = Store(tmp_path, client), list[str]()
    labels = labels_of(store, downloaded)
    assert labels.fetch() == ["1.5"] and downloaded == ["9.2"]
    studies = studies_of(store)
    assert [(study.name, study.label is not None) for study in studies] == [("1.5", True), ("1.6", False)]
    assert organs_of(studies) == {"liver": 1, "spleen": 2}
    assert labels.fetch() == [] and downloaded == ["9.2"] and client.asked == 4, "nothing is asked twice"
    client.headers.append(header("9.5", "1.5", "20240302", "kidney", "spleen"))
    assert labels.fetch() == ["1.5"] and list(organs_of(studies_of(store))) == ["kidney", "spleen"]
    store.infos["1.5"] = {"SeriesInstanceUID": "9.5", "label_info": [{"name": "mine", "idx": 1}]}
    assert labels.fetch() == [] and "mine" in organs_of(studies_of(store)), "what was submitted here is there already"


@pytest.mark.usefixtures("always_fresh")
def test_one_that_cannot_be_read_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(header("bad", "1.5", "20240101", "liver"), header("9.2", "1.6", "20240101", "liver"))
    store, downloaded = Store(tmp_path, client), list[str]()
    labels = labels_of(store, downloaded)
    assert labels.fetch() == ["1.6"] and labels.unreadable == {"bad": "ValueError: segments overlap"}
    assert "DICOM-SEG bad is passed over: ValueError: segments overlap" in caplog.text
    assert labels.fetch() == [] and downloaded == ["bad", "9.2"]


def test_a_server_is_not_asked_for_each_of_one_requests_questions(tmp_path: Path) -> None:
    client = Client(header("9.2", "1.5", "20240101", "liver"))
    labels = labels_of(Store(tmp_path, client), [])
    assert labels.fetch() == ["1.5"]
    client.headers.append(header("9.3", "1.6", "20240101", "liver"))
    assert labels.fetch() == [] and client.asked == 1


def test_a_header_without_names() -> None:
    content = header("9.1", "1.5", "20240101")
    del content["00620002"]
    seg = read_seg(content)
    assert seg is not None and seg.names == {} and seg.made == ("", "", "20240101", "")


def test_names_of_segments_that_are_not_drawn_are_left_out(tmp_path: Path) -> None:
    """By the place in the list 4 would be the liver."""
    voxels = np.zeros((4, 4, 4), np.uint8)
    file = write_volume(tmp_path / "a.nii.gz", voxels)
    listed = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 4, "color": [1, 2, 3]}]
    with pytest.raises(UsageError, match="shows no voxel of an organ, which a DICOM-SEG cannot hold"):
        check_segments(file, {"label_info": listed})
    voxels[0, 0, :2] = [4, 9]
    sent = check_segments(write_volume(tmp_path / "b.nii.gz", voxels), {"label_info": listed, "client_id": "me"})
    named = [{"name": "spleen", "idx": 4, "color": [1, 2, 3]}, {"name": "label_9", "idx": 9}]
    assert sent == {"label_info": named, "client_id": "me"}
    assert check_segments(tmp_path / "c.bin", {"label_info": listed}) == {"label_info": listed}
