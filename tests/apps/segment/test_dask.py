# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment --dask`: scans as tasks, of which one loses its worker in the middle, and another one fails."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from segment_scene import Scene, read, rolled, rows

from monai_fss.apps.cli import main
from monai_fss.apps.cluster import dask_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
QUICK = ("--no-overlays",)
CASES = [f"scan_{number}" for number in range(1, 7)]


@pytest.fixture
def scene(scene: Scene) -> Scene:
    rolled(scene, CASES)
    return scene


def workers() -> list[psutil.Process]:
    """Processes of Dask's workers that have been started from here."""
    return [one for one in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Kill the worker that has the second scan as soon as it has it; the processes that were killed."""
    found: list[int] = []
    connected = dask_run.connected

    class Connected:
        def __init__(self, address: str) -> None:
            self.context = connected(address)

        def __enter__(self) -> Any:
            self.client = self.context.__enter__()
            threading.Thread(target=self.kill, daemon=True).start()
            return self.client

        def __exit__(self, *error: Any) -> Any:
            return self.context.__exit__(*error)

        def kill(self) -> None:
            own = self.client.run(lambda: __import__("os").getpid())  # by the worker's address
            while not found:
                for address, keys in self.client.processing().items():
                    if any(str(key).endswith(CASES[1]) for key in keys):
                        os.kill(own[address], signal.SIGKILL)
                        found.append(own[address])
                time.sleep(0.01)

    monkeypatch.setattr(dask_run, "connected", Connected)
    yield found


@pytest.fixture
def served(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The addresses that are listened on when the scans are handed out; the last scan is cut off then."""
    found: set[str] = set()
    segment_on = dask_run.segment_on

    def looked_at(client: Any, job: Any, items: Any, table: Any) -> Any:
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            found.update(one.laddr.ip for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN)
        (scene.images / f"{CASES[-1]}.nii.gz").write_bytes(b"cut off since it was looked at")
        return segment_on(client, job, items, table)

    monkeypatch.setattr(dask_run, "segment_on", looked_at)
    return found


def test_a_worker_is_lost_and_a_scan_fails_and_all_other_masks_are_those_of_one_machine(
    scene: Scene, killed: list[int], served: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What local workers serve can be reached from here alone; a scan that fails twice is named."""
    pytest.importorskip("distributed", reason="needs the extra 'cluster': pip install '.[cluster]'")
    assert main(scene.words(*QUICK)) == 0
    capsys.readouterr()
    assert main(scene.words(*QUICK, "--dask", "local:2", output="dask")) == 1
    assert len(killed) == 1 and served == {"127.0.0.1"}
    err = capsys.readouterr().err
    assert "1 scan(s) could not be segmented:" in err and f"{CASES[-1]}.nii.gz: " in err
    plain, dask = scene.root / "out", scene.root / "dask"
    assert rows(dask) == [row for row in rows(plain) if row["case"] != CASES[-1]]
    for case in CASES[:-1]:
        np.testing.assert_array_equal(read(dask / f"{case}.nii.gz"), read(plain / f"{case}.nii.gz"))
    report = json.loads((dask / "report.json").read_text(encoding="utf-8"))
    assert list(report["failed"]) == [CASES[-1]] and sorted(report["segmented_now"]) == CASES[:-1]
    assert not workers()


def test_no_cluster_is_refused_before_anything_is_written(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("local:0", "localhost"):
        assert main(scene.words("--dask", address)) == 2
        assert f"--dask {address}: is not understood. Give local:N" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(scene.words("--dask", "local:2")) == 2
    assert "needs Dask. Install it: pip install 'monai-fss[cluster]'" in capsys.readouterr().err
    assert not Path(scene.root / "out").exists()
