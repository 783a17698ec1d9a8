# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A server for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from label_scene import Scene
from label_server import QUICK, LabelServer

from monai_fss.apps import cli
from monai_fss.data import DatasetFolder, write_phantom_dataset


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("label")
    write_phantom_dataset(folder / "data", n_cases=5, shape=(64, 64, 24), spacing=(5, 5, 9), variation=0.6)
    data = DatasetFolder.read(folder / "data")
    shutil.copytree(folder / "data" / "images", folder / "studies")
    whole = (folder / "studies" / "case_02.nii.gz").read_bytes()
    (folder / "studies" / "broken.nii.gz").write_bytes(whole[:3000])
    assert cli.main(["label-app", str(folder / "app")]) == 0
    server = LabelServer(folder / "app", folder / "studies", environment, "--conf", "zoo_source", "ngc")
    try:
        before = server.infer("atlas", "case_02", QUICK)
        label = data.cases["case_01"].label
        assert label is not None
        yield Scene(server, data, before, server.save_label("case_01", label, data.labels))
    finally:
        server.kill()
