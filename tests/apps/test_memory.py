# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a run needs of memory: estimated, said, and no more with each organ."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from bad_files import good_image, save_nifti
from large_scans_fixture import write_ct

from monai_fss.apps import memory
from monai_fss.apps.memory import free_memory, needed_memory, warn_memory
from monai_fss.data import InputWarning, Scan, check_scan

GB = 1e9


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """A CT of everyday size."""
    small = check_scan(save_nifti(tmp_path / "case.nii.gz", good_image()))
    return replace(small, shape=(512, 512, 400), spacing=(0.7, 0.7, 1.3))


def test_the_estimate_covers_what_was_measured(scan: Scan) -> None:
    """GiB of tests/benchmarks/large_scans.py: 3.3 and 3.3 by the atlas, 3.0 by ADNet, 1.8 by PRNet."""
    atlas = [needed_memory(scan, [scan], organs, None, True) for organs in (13, 104)]
    network, volume = needed_memory(scan, [scan], 13, 2.5, False), needed_memory(scan, [], 13, 3.0, False, 3)
    for needed, measured in zip((*atlas, network, volume), (3.3, 3.3, 3.0, 1.8), strict=True):
        assert measured * 1.07 < needed / GB < 1.8 * measured * 1.07
    assert atlas[1] - atlas[0] < 2 * 91 * 4 * 1.3e6 + 1, "organs count on the working grid"
    assert needed_memory(scan, [scan] * 4, 13, None, True) - atlas[0] >= 3 * 3 * 512 * 512 * 400 - 1


def test_a_grid_of_three_voxel_sizes(scan: Scan) -> None:
    one, three = (needed_memory(scan, [], 13, pixdim, False, 3) for pixdim in (2.0, [1.0, 1.0, 8.0]))
    assert three == pytest.approx(one), "as large"
    assert needed_memory(scan, [], 13, [1.0, 1.0, 4.0], False, 3) - one == pytest.approx(
        2 * 4 * 14 * 512 * 512 * 400 * 0.7 * 0.7 * 1.3 / 8
    )


def test_it_is_said_where_less_is_free(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * GB)
    says = r"case\.nii\.gz: 512 x 512 x 400 voxels and 13 organs will need about \d\.\d GB of memory, and 2\.0 GB are"
    with pytest.warns(InputWarning, match=says):
        warn_memory([replace(scan, shape=(9, 9, 9)), scan], [scan], 13)
    monkeypatch.setattr(memory, "free_memory", lambda: 9 * GB)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_memory([scan], [scan], 13)
        warn_memory([], [scan], 13)


def test_a_limit_of_the_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    available = psutil.virtual_memory().available
    assert free_memory() == pytest.approx(available, rel=0.2)
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("30000\n", encoding="ascii")
    assert free_memory() == pytest.approx(available, rel=0.2)
    (tmp_path / "memory.max").write_text("50000\n", encoding="ascii")
    assert free_memory() == 20000
    (tmp_path / "memory.stat").write_text("anon 7\ninactive_file 9000\n", encoding="ascii")
    assert free_memory() == 29000, "files that were read are given back"


# `segment` without the work of registration: the scans are alike. One interpreter imports everything, and each run is a
# copy of it: what they need more than it is told apart.
DRIVER = """
import numpy, os, resource, sys
from monai_fss.apps.cli import main
from monai_fss.apps.segment import command
from monai_fss.inferers import atlas
from monai_fss.registration import DisplacementField, Grid
import itk, matplotlib.pyplot, monai.bundle
atlas.register = lambda fixed, moving, **settings: DisplacementField.from_affine(
    numpy.eye(4), Grid.of(fixed).working((6, 6, 6)))
atlas.side_ratio = lambda fixed, moving: 1.0
folders, words = sys.argv[1].split(","), sys.argv[2:]
for folder in folders:
    child = os.fork()
    if not child:
        os.chdir(folder)
        os._exit(main(words))
    _, status, usage = os.wait4(child, 0)
    print("peak", status, usage.ru_maxrss, flush=True)
"""


def peaks(folder: Path, sizes: dict[str, tuple[int, int]], environment: dict[str, str]) -> list[float]:
    """Bytes of `segment` with quality and pictures, by the atlas; name to number of slices and of organs."""
    for name, (slices, organs) in sizes.items():
        place = folder / name
        (place / "in").mkdir(parents=True)
        shape, spacing = (224, 224, slices), (0.7, 0.7, 0.9)
        write_ct(place / "support.nii.gz", place / "label.nii.gz", shape, spacing, organs, seed=1)
        write_ct(place / "in" / "query.nii.gz", None, shape, spacing, organs, seed=2)
    words = ["segment", "--images", "in", "--output", "out", "--support-image", "support.nii.gz"]
    words += ["--support-label", "label.nii.gz", "--set", "spacing=[2.5,2.5,2.5]"]
    command = [sys.executable, "-c", DRIVER, ",".join(sizes), *words]
    # What is freed is returned at once: the peak is what was held, not what the allocator kept.
    environment = environment | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("peak ")]
    assert [status for status, _ in found] == ["0"] * len(sizes), done.stderr
    assert all((folder / name / "out" / "query.nii.gz").is_file() for name in sizes)
    return [float(peak) * 1024 for _, peak in found]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a child is counted in another unit elsewhere")
def test_memory_grows_neither_with_organs_nor_much_with_slices(tmp_path: Path, environment: dict[str, str]) -> None:
    sizes = {"few": (120, 2), "many": (120, 40), "long": (360, 2)}
    few, many, long = peaks(tmp_path, sizes, environment)
    native = 4 * 224 * 224 * 120
    assert many - few < 0.1 * 38 * native, "a tenth of one float32 volume for each organ more"
    assert long - few < 32 * 224 * 224 * 240, "32 bytes for each voxel more"
