# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Seconds in which a MONAI Label server with the app answers, on a machine that does nothing else.

    PYTHONPATH=tests/fixtures .venv-label/bin/python tests/benchmarks/label_timings.py

Synthetic studies of 256 x 256 x 36 voxels (1.5 x 1.5 x 7 mm). It prints when `/info/` answers, the first mask of the
atlas (`preset=fast`, registered within the request) and the same again, and the first and second one of the ADNet that
comes with the bundle, beside the seconds of its network alone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from label_server import LabelServer

from monai_fss.apps import cli
from monai_fss.apps.export.shown import shown_method
from monai_fss.apps.methods.method import Method
from monai_fss.data import DatasetFolder, write_phantom_dataset

MODEL = Method("adnet").folder / "models" / "model.pt"


def timed(server: LabelServer, model: str, params: dict[str, Any]) -> tuple[float, Any]:
    """Seconds of a request, and its answer."""
    began = time.monotonic()
    answer = server.infer(model, "case_02", params)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began, answer.json()


def network_alone(data: DatasetFolder) -> float:
    """Seconds of ADNet's network for the slices of a scan: 256 pixels of 1.5 mm are 160 of its 2.5 mm."""
    one = data.cases["case_01"]
    assert one.label is not None
    shown = shown_method(Method("adnet"), MODEL, [one.image], [one.label])
    metadata = json.loads((Method("adnet").folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    channels = metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    assert shown.network is not None
    began = time.monotonic()
    with torch.no_grad():
        for slices in torch.rand(36, channels, 160, 160).split(4):
            shown.network(slices)
    return time.monotonic() - began


def main() -> None:
    """Start a server, and ask it."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_phantom_dataset(folder / "data", n_cases=4, shape=(256, 256, 36), spacing=(1.5, 1.5, 7), variation=0.6)
        data = DatasetFolder.read(folder / "data")
        shutil.copytree(folder / "data" / "images", folder / "studies")
        assert cli.main(["label-app", str(folder / "app")]) == 0
        (folder / "app" / "model" / "adnet").mkdir(parents=True)
        shutil.copy(MODEL, folder / "app" / "model" / "adnet")
        server = LabelServer(folder / "app", folder / "studies", os.environ)
        try:
            print(f"/info/ after {server.seconds:.1f} s ({server.cpu_seconds:.1f} s of a processor)")
            label = data.cases["case_01"].label
            assert label is not None
            assert server.save_label("case_01", label, data.labels).status_code == 200
            for quality in (False, True):
                seconds, _ = timed(server, "atlas", {"preset": "fast", "quality": quality})
                again, _ = timed(server, "atlas", {"preset": "fast", "quality": quality})
                print(f"atlas, preset fast, quality {quality}: first {seconds:.1f} s, registered before {again:.1f} s")
            for word in ("first", "again"):
                seconds, _ = timed(server, "adnet", {"quality": False})
                print(f"ADNet {word}: {seconds:.1f} s; its network alone {network_alone(data):.1f} s")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
