# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Threads of a command: quotas of containers, waiting that keeps no processor busy, and numba without a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monai_fss.apps.threads import WAITING, cgroup_processors, set_threads, usable_processors

HERE = len(os.sched_getaffinity(0))


def groups(tmp_path: Path, **files: str) -> tuple[Path, Path]:
    """A folder of control groups; a file's name has ``__`` for ``/``; ``own`` is /proc/self/cgroup."""
    (tmp_path / "self").write_text(files.pop("own", "0::/\n"))
    for name, text in files.items():
        file = tmp_path / "groups" / name.replace("__", "/").replace("_max", ".max").replace("cfs.max", "cfs_max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "groups", tmp_path / "self"


def test_quotas_of_both_versions_and_of_the_groups_above(tmp_path: Path) -> None:
    assert cgroup_processors(tmp_path / "none", tmp_path / "nothing") is None
    for number, (files, processors) in enumerate(
        [
            ({"cpu_max": "150000 100000\n"}, 1.5),
            ({"cpu_max": "max 100000\n"}, None),
            ({"own": "0::/pod/box\n", "pod__cpu_max": "50000 100000", "pod__box__cpu_max": "max 100000"}, 0.5),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert cgroup_processors(*groups(folder, **files)) == processors
    old = tmp_path / "old"
    (old / "groups" / "cpu" / "box").mkdir(parents=True)
    (old / "self").write_text("4:cpu,cpuacct:/box\n3:memory:/other\n")
    for name, text in (("cpu.cfs_quota_us", "200000"), ("cpu.cfs_period_us", "100000")):
        (old / "groups" / "cpu" / "box" / name).write_text(text)
    assert cgroup_processors(old / "groups", old / "self") == 2
    (old / "groups" / "cpu" / "box" / "cpu.cfs_quota_us").write_text("-1")
    assert cgroup_processors(old / "groups", old / "self") is None


def test_no_more_threads_than_a_quota_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, own = groups(tmp_path, cpu_max="50000 100000")
    assert usable_processors(folder, own) == 1
    (folder / "cpu.max").write_text("max 100000")
    assert usable_processors(folder, own) == HERE
    monkeypatch.setattr("monai_fss.apps.threads.usable_processors", lambda: 0)  # fewer than there are, anywhere
    environment: dict[str, str] = {}
    set_threads(environment)
    assert environment == {**WAITING, "OMP_NUM_THREADS": "0", "MKL_NUM_THREADS": "0", "NUMBA_NUM_THREADS": "0"}


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_fss.apps.threads.usable_processors", lambda: 0)
    environment = {"OMP_NUM_THREADS": "7", "GOMP_SPINCOUNT": "5"}
    set_threads(environment)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "7"
    assert environment["GOMP_SPINCOUNT"] == "5" and "OMP_WAIT_POLICY" not in environment


def test_a_command_sets_them_before_torch_is_imported() -> None:
    code = (
        "import os, sys\nfrom monai_fss.apps.cli import main\nassert 'torch' not in sys.modules\n"
        "assert main(['--version']) == 0\nprint(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    )
    names = (*WAITING, "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "PASSIVE 0"


NO_HOME = """
import os, tempfile
real = tempfile.TemporaryFile
def only_there(*args, dir=None, **more):
    if dir is not None and not str(dir).startswith(os.environ["TMPDIR"]):
        raise PermissionError(13, "Permission denied")
    return real(*args, dir=dir, **more)
tempfile.TemporaryFile = only_there
import numpy as np
from monai_fss.transforms.felzenszwalb import _find  # the quickest to compile
print(_find(np.array([-2, 0]), 1) == 0, os.environ["NUMBA_CACHE_DIR"])
"""


@pytest.mark.slow
def test_numba_keeps_its_code_elsewhere_where_the_user_has_no_home(tmp_path: Path) -> None:
    """Neither beside the package nor at home can be written: numba refuses to import a function that is kept."""
    environment = {**os.environ, "HOME": "/nonexistent", "TMPDIR": str(tmp_path)}
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", NO_HOME], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    works, folder = done.stdout.split()
    assert works == "True" and Path(folder).parent == tmp_path
    assert Path(folder).stat().st_mode & 0o077 == 0
    assert list(Path(folder).rglob("*.nbi")), "what was compiled is kept"
