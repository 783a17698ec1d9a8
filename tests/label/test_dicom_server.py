# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The app on a server of DICOM, by the requests that OHIF sends: a real MONAI Label server, and a real Orthanc.

make label    # Orthanc is asked for where it is installed: apt-get install orthanc orthanc-dicomweb
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_series import write_series
from label_scene import voxels
from label_server import QUICK, LabelServer, free_port

from monai_fss.apps import cli
from monai_fss.data import DatasetFolder, write_phantom_dataset
from monai_fss.data.reading.volume import read_scan
from monai_fss.metrics import strict_dice

pytest.importorskip("monailabel", reason="needs MONAI Label, in an environment of its own: make label")
pytestmark = [pytest.mark.label, pytest.mark.slow, pytest.mark.timeout(900)]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
OHIF = {**QUICK, "result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
OHIF |= {"restore_label_idx": False}


@dataclass
class Hospital:
    """Three studies on a server of DICOM, and MONAI Label's server on it. ``series``: case to SeriesInstanceUID."""

    server: LabelServer
    url: str
    data: DatasetFolder
    series: dict[str, str]

    def get(self, path: str, **params: Any) -> Any:
        import requests

        return requests.get(f"{self.url}{path}", params=params, timeout=60)

    def store(self, content: bytes) -> None:
        """As a viewer does that exports a DICOM-SEG."""
        import requests

        sent = requests.post(f"{self.url}/instances", data=content, timeout=60)
        assert sent.status_code == 200, sent.text

    def truth(self, case: str) -> np.ndarray:
        """The label in the order of the series' voxels: columns to the left, rows to the back."""
        return as_dicom(self.data.root / "labels" / f"{case}.nii.gz")[0]


def as_dicom(file: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.as_closest_canonical(nib.Nifti1Image.from_filename(file))
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:2, 3] = np.array(image.shape[:2]) - 1
    return np.asarray(image.dataobj)[::-1, ::-1], image.affine @ turn


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.is_file() or shutil.which("itkimage2segimage") is None:
        pytest.skip("needs Orthanc with its plugin for DICOMweb, and dcmqi (pip install dcmqi)")
    folder, port = tmp_path_factory.mktemp("orthanc"), free_port()
    config = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "Plugins": [str(PLUGIN)],
    }
    config |= {"RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": False}
    (folder / "orthanc.json").write_text(json.dumps(config | {"DicomWeb": {"Enable": True}}), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    import requests

    try:
        return requests.get(f"{url}/dicom-web/series", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def hospital(orthanc: str, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Hospital]:
    folder, series = tmp_path_factory.mktemp("hospital"), {}
    write_phantom_dataset(folder / "data", n_cases=3, n_folds=1, shape=(64, 64, 24), spacing=(5, 5, 9), variation=0.6)
    data = DatasetFolder.read(folder / "data")
    assert cli.main(["label-app", str(folder / "app")]) == 0
    found = {"MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}'}
    found |= {"MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "kept")}
    hospital = Hospital(None, orthanc, data, series)  # type: ignore[arg-type]
    for case, scan in data.cases.items():
        image, affine = as_dicom(scan.image)
        written = write_series(folder / "dicom" / case, image.astype(np.int32), affine, slope=None, modality="MR")
        series[case] = str(written[0].SeriesInstanceUID)
        for file in (folder / "dicom" / case).iterdir():
            hospital.store(file.read_bytes())
    hospital.server = LabelServer(folder / "app", f"{orthanc}/dicom-web", {**environment, **found})
    try:
        yield hospital
    finally:
        hospital.server.kill()


def test_ohif_segments_by_what_lies_on_the_server(hospital: Hospital, tmp_path: Path) -> None:
    server, series, labels = hospital.server, hospital.series, hospital.data.labels
    refused = server.infer("atlas", series["case_02"], OHIF, "image")
    assert refused.status_code == 400 and "there is nothing to segment by" in refused.json()["detail"]
    chosen = server.post("/activelearning/random")  # what OHIF asks for unless another strategy is chosen
    assert chosen.status_code == 200 and chosen.json()["id"] in series.values() and chosen.json()["StudyInstanceUID"]

    label = tmp_path / "label.nii.gz"  # a label that is submitted, without one of the organs that are listed
    mask, affine = as_dicom(hospital.data.root / "labels" / "case_01.nii.gz")
    missing, *shown = labels
    nib.save(nib.Nifti1Image(np.where(mask == labels[missing], 0, mask).astype(np.uint8), affine), label)
    saved = server.save_label(series["case_01"], label, labels)
    assert saved.status_code == 200 and saved.json()["problems"] == []
    (seg,) = hospital.get("/dicom-web/series", Modality="SEG").json()
    told = hospital.get(
        f"/dicom-web/studies/{seg['0020000D']['Value'][0]}/series/{seg['0020000E']['Value'][0]}/metadata"
    )
    assert [one["00620005"]["Value"][0] for one in told.json()[0]["00620002"]["Value"]] == shown

    answer = server.infer("atlas", series["case_02"], OHIF, "image")
    assert answer.status_code == 200, answer.text
    found, truth = voxels(answer.content, tmp_path, ".nrrd"), hospital.truth("case_02")
    assert found.shape == truth.shape and b"type: unsigned char" in answer.content[:400]  # OHIF reads bytes
    assert np.mean([strict_dice(found == labels[name], truth == labels[name]) for name in shown]) >= 0.85

    listed = [{"name": name, "idx": labels[name]} for name in shown]
    sent = {**OHIF, "result_extension": ".nii.gz", "label_info": listed}
    as_seg = server.infer("atlas", series["case_02"], sent, "dicom_seg")
    assert as_seg.status_code == 200, as_seg.text
    assert server.infer("atlas", series["case_03"], {**QUICK}).json()["support"] == [series["case_01"]]
    hospital.store(as_seg.content)  # looked at in OHIF, and exported
    time.sleep(1.1)
    both = server.infer("atlas", series["case_03"], {**QUICK})
    assert both.status_code == 200 and sorted(both.json()["support"]) == sorted(
        series[case] for case in ("case_01", "case_02")
    )
    assert sorted(both.json()["label_names"]) == sorted(shown), "one organ of a name, however a DICOM-SEG numbers it"
    kept, _ = read_scan(next((hospital.server.app.parent / "kept").rglob(f"final/{series['case_02']}.nii.gz")))
    numbers = {name: number for number, name in enumerate(shown, 1)}
    for name in shown:
        np.testing.assert_array_equal(kept == numbers[name], found == labels[name])
