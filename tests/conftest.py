# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Fixtures of the whole suite: real scans where there are any, a tiny synthetic data set, a model trained on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """``real_data("chaos_t2")``: the folder of a set of real scans; the test is skipped where there is none."""
    root = Path(os.environ.get("MONAI_FSS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (root / name / "images").is_dir():
            pytest.skip(f"no real scans: {root / name / 'images'} does not exist (set MONAI_FSS_TEST_DATA)")
        return root / name

    return find


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository, where ``bundles/`` is."""
    return REPOSITORY


@pytest.fixture(scope="session")
def small() -> Callable[[str], dict[str, Any]]:
    """``small("adnet")``: settings of the bundle's train.yaml that make two steps a matter of seconds."""

    from installed_bundles import small_training

    return small_training


@pytest.fixture(scope="session")
def environment(repository: Path) -> dict[str, str]:
    """For child processes: one thread, as here, since weights are compared bit for bit; no graphics card."""
    path = os.pathsep.join(filter(None, [str(repository), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}


@pytest.fixture(scope="session")
def phantom_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four synthetic scans, 64 x 64 x 12 voxels of 5 x 5 x 16 mm, in two folds. Do not change it."""
    from monai_fss.data import write_phantom_dataset

    folder = tmp_path_factory.mktemp("phantoms") / "data"
    return write_phantom_dataset(folder, n_cases=4, n_folds=2, shape=(64, 64, 12), spacing=(5, 5, 16))


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, for all of its processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def trained_once(phantom_set: Path, _shared: Path) -> Callable[[str], Path]:
    """``trained_once("adnet")``: the run folder of a bundle after four steps on the phantoms, see :func:`trained_run`.

    A bundle is trained by the first test that asks, in whichever process: its weights are the same. Do not change it.
    """
    from trained_run import trained_run

    def run(bundle: str) -> Path:
        folder = _shared / "trained" / bundle
        if not folder.exists():
            own = folder.with_name(f"{bundle}.{os.getpid()}")
            trained_run(bundle, phantom_set, own)
            with suppress(OSError):  # another process has trained it meanwhile
                own.rename(folder)
        return folder

    return run


@pytest.fixture(scope="session")
def trained(trained_once: Callable[[str], Path]) -> Path:
    """The run folder of ADNet trained on the phantoms (``model.pt`` in it). Do not change it."""
    return trained_once("adnet")


@pytest.fixture
def one_thread() -> Any:
    """One thread, and MONAI's determinism switched off afterwards, around trainings in this process."""
    import torch
    from monai.utils import set_determinism

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    set_determinism(None)


@pytest.fixture(scope="module")
def registered_once(_shared: Path) -> Iterator[None]:
    """The atlas asks for a registration with the same voxels and settings once in all tests: they take seconds.

    They are kept by content in a folder, which processes that are forked from a test share. What asks for an accurate
    one gets a fast one from one start: how exact it is, tests/registration says.
    """
    import torch

    from monai_fss.data import ContentCache
    from monai_fss.inferers import atlas
    from monai_fss.registration import DisplacementField

    cache, register, side_ratio = ContentCache(_shared / "registrations"), atlas.register, atlas.side_ratio

    def registered(fixed: Any, moving: Any, **settings: Any) -> Any:
        if settings.get("preset", "accurate") == "accurate":
            settings |= {"preset": "fast", "starts": 1}
        found = cache("register", lambda: register(fixed, moving, **settings).tensors(), [fixed, moving], settings)
        return DisplacementField(**found)

    def sides(fixed: Any, moving: Any) -> float:
        found = cache("sides", lambda: {"ratio": torch.tensor(side_ratio(fixed, moving)).double()}, [fixed, moving])
        return float(found["ratio"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "register", registered)
        patch.setattr(atlas, "side_ratio", sides)
        yield


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans lie on one another as they are: the atlas neither registers them nor asks whether sides are exchanged."""
    from known_atlas import as_they_lie

    monkeypatch.setattr("monai_fss.inferers.atlas.register", as_they_lie)
    monkeypatch.setattr("monai_fss.inferers.atlas.side_ratio", lambda query, scan: 1.0)


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Figures are made and not rendered, which takes as long as all else in a small scan: their files hold one pixel.

    Where pictures are what is tested they are rendered: tests/visualize, tests/apps/segment, tests/apps/evaluate.
    """
    import io

    from PIL import Image

    from monai_fss.apps.results import plots
    from monai_fss.handlers import propagation_report, segment_report

    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG")
    with pytest.MonkeyPatch.context() as patch:
        for module in (plots, propagation_report, segment_report):
            patch.setattr(module, "to_png", lambda figure: pixel.getvalue())
        yield
