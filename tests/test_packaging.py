# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The wheel: the bundles are in it, tests and data are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import monai_fss

pytest.importorskip("setuptools", minversion="68")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy of what belongs to the package, since building leaves files beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    skip = shutil.ignore_patterns("__pycache__", "cache", "checkpoints", "tensorboard")
    for name in ("monai_fss", "bundles", "tests"):
        shutil.copytree(repository / name, source / name, symlinks=True, ignore=skip)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run([*command, "-w", str(folder), str(source)], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    assert file.name == f"monai_fss-{monai_fss.__version__}-py3-none-any.whl", "no compiled extension"
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_every_module_is_in_it(wheel: zipfile.ZipFile, repository: Path) -> None:
    modules = {str(p.relative_to(repository)) for p in (repository / "monai_fss").rglob("*.py")}
    scripts = {f"monai_fss/{p.relative_to(repository)}" for p in repository.glob("bundles/*/scripts/*.py")}
    assert {n for n in wheel.namelist() if n.endswith(".py")} == modules | scripts
    assert "monai_fss/py.typed" in wheel.namelist()
    templates = {str(p.relative_to(repository)) for p in (repository / "monai_fss").glob("apps/*/template/*.*")}
    assert len(templates) > 5 and templates <= set(wheel.namelist())


def test_the_bundles_are_in_it(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = set(wheel.namelist())
    for bundle in (p for p in (repository / "bundles").iterdir() if p.is_dir()):
        files = [
            bundle / "LICENSE",
            bundle / "models" / "README.md",
            *(bundle / "configs").iterdir(),
            *(bundle / "docs").iterdir(),
        ]
        expected = {f"monai_fss/{file.relative_to(repository)}" for file in files}
        assert {"inference.yaml", "evaluate.yaml", "metadata.json", "logging.conf"} <= {Path(n).name for n in expected}
        assert expected <= names


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    roots = {name.split("/")[0] for name in wheel.namelist()}
    assert roots == {"monai_fss", f"monai_fss-{monai_fss.__version__}.dist-info"}
    suffixes = {Path(name).suffix for name in wheel.namelist() if name.startswith("monai_fss/")}
    assert not suffixes & {".gz", ".nii", ".pt", ".npy", ".pyc"}
    assert sum(item.file_size for item in wheel.infolist()) < 4_000_000, "seventeen bundles of text and figures"


def test_metadata_name_version_licence_and_requirements(metadata: Message) -> None:
    assert metadata["Name"] == "monai-fss" and metadata["Version"] == monai_fss.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert "Apache-2.0" in (metadata["License"] or metadata["License-Expression"])
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {line.split(">")[0].split("<")[0].split("=")[0].strip() for line in required}
    core = {"torch", "monai", "pytorch-ignite", "numpy", "nibabel", "itk", "pyyaml", "fire", "numba", "scipy"}
    assert names == core | {"matplotlib", "tqdm", "convexAdam", "psutil", "scikit-image", "jinja2", "pillow"}, (
        "torchvision is none of them: it has no CPU build everywhere"
    )


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "monai-fss = monai_fss.__main__:main" in wheel.read(name).decode()
