# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The method that CONTRIBUTING.md adds, added as it says, in a copy of the repository: it keeps every contract."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
COPIED = ("monai_fss", "bundles", "tests", "setup.cfg", "ruff.toml", "README.md", "CONTRIBUTING.md")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "repository"
    folder.mkdir()
    skip = shutil.ignore_patterns("*.pt", "cache", "checkpoints", "tensorboard")
    for name in COPIED:  # with what Python and numba have compiled, which is of the same files
        if (repository / name).is_dir():
            shutil.copytree(repository / name, folder / name, symlinks=True, ignore=skip)
        else:
            shutil.copy(repository / name, folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (p for p in folder.rglob("*") if p.is_file() and not {".pytest_cache", "__pycache__"} & set(p.parts))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths if "ruff_cache" not in str(p)}


def write_files(page: str, clone: Path) -> None:
    """The blocks of Python that follow a file's name, and the lines that are added to another."""
    for path, text in re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL):
        (clone / path).write_text(text, encoding="utf-8")
    ((path, diff),) = re.findall(r"`([\w/]+\.py)`:\n\n```diff\n(.*?)```", page, re.DOTALL)
    text = (clone / path).read_text(encoding="utf-8")
    lines = diff.splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if line.startswith("+"):
            assert text.count(f"{before[1:]}\n") == 1
            text = text.replace(f"{before[1:]}\n", f"{before[1:]}\n{line[1:]}\n")
    (clone / path).write_text(text, encoding="utf-8")


def typed(command: str, clone: Path, environment: dict[str, str]) -> str:
    """What a command says that is typed in the copy, where it has to end well."""
    program, *words = shlex.split(command)
    called = {"python": [sys.executable], "monai-fss": [sys.executable, "-m", "monai_fss"]}.get(program, [program])
    ours = environment | {"PYTHONPATH": str(clone)}
    done = subprocess.run([*called, *words], cwd=clone, env=ours, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    return done.stdout


def test_the_page_adds_a_method(page: str, clone: Path, environment: dict[str, str]) -> None:
    before = files_of(clone)
    write_files(page, clone)
    make, check = re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL)
    made = typed(make, clone, environment)
    assert made.startswith(f"{clone / 'bundles' / 'nearest_prototype'}: written, from panet")
    after = files_of(clone)
    touched = {path for path in after if before.get(path) != after[path]}
    by_hand = {path for path in touched if not path.startswith("bundles/nearest_prototype/")}
    assert before.keys() <= after.keys() and len(by_hand) == 3, "besides the bundle, which the command makes"
    said = typed(check.replace(" pytest ", " pytest tests/test_architecture.py "), clone, environment)
    assert int(re.findall(r"(\d+) passed", said)[-1]) > 21 and "failed" not in said and "error" not in said
    for command in ("ruff format --check", "ruff check"):
        typed(f"python -m {command} {' '.join(sorted(by_hand))} bundles/nearest_prototype", clone, environment)
