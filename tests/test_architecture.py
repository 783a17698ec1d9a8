# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The architecture, read from the source: who may import whom, and who may write files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import monai_fss

ROOT = Path(monai_fss.__file__).parent
FILES = sorted(p for p in ROOT.rglob("*.py") if "bundles" not in p.relative_to(ROOT).parts)

BASE = {"digests", "networks.blocks", "networks.nets", "losses", "transforms", "metrics", "registration", "data"}
MIDDLE = {"inferers", "engines", "handlers"}
# What each package may import besides itself.
ALLOWED = {
    "digests": set(),
    "networks": set(),
    "networks.blocks": set(),
    "networks.nets": {"digests", "networks.blocks"},
    "losses": set(),
    "transforms": set(),
    "metrics": set(),
    "registration": set(),
    "data": {"digests", "transforms"},
    "inferers": BASE | MIDDLE,
    "engines": BASE | MIDDLE,
    "handlers": BASE | MIDDLE | {"results", "visualize"},
    "visualize": BASE | {"inferers"},
    "results": {"data", "metrics"},
    "apps": BASE | MIDDLE | {"results", "visualize"},
    "__main__": {"apps"},
    "": set(),
}
MAY_WRITE = {"apps", "data", "handlers", "results"}
MOST_FILES = 15
WRITERS = {"write_text", "write_bytes", "to_filename", "save", "savez", "savez_compressed", "savetxt", "imsave", "dump"}
READERS = {"read_text", "read_bytes", "imread", "fromfile", "genfromtxt", "loadtxt"}


def package(module: str) -> str:
    """ "networks.nets.adnet" -> "networks.nets", "data.episodes" -> "data", "" -> ""."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "networks" else parts[0]


def module_name(path: Path) -> list[str]:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported_modules(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name (without "monai_fss.") of every module of ours that a file imports, wherever in it that stands."""
    own = module_name(path)
    folder = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = folder[: len(folder) - node.level + 1]
                base = ".".join(["monai_fss", *above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            names = [node.value]  # import_module("monai_fss.data.files.writer")
        for name in names:
            if name.startswith("monai_fss."):
                yield getattr(node, "lineno", 0), _existing(name.split(".")[1:])


def _existing(parts: list[str]) -> str:
    """The longest part of a dotted name that is a module: what follows is a name in it."""
    while parts and not (ROOT.joinpath(*parts).is_dir() or ROOT.joinpath(*parts).with_suffix(".py").is_file()):
        parts = parts[:-1]
    return ".".join(parts)


def forbidden_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of calls that read or write files, but for open(..., "rb") and figures drawn into memory."""
    memory = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "BytesIO" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        name = call.rpartition(".")[2]
        first = ast.unparse(node.args[0]) if node.args else ""
        if name == "open":
            modes = [a.value for a in [*node.args, *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
            if not any(mode in ("r", "rb") for mode in modes):
                yield node.lineno, call
        elif name == "savefig":
            if first not in memory:
                yield node.lineno, call
        elif name in WRITERS | READERS or call in ("nib.load", "nibabel.load", "np.load", "numpy.load"):
            yield node.lineno, call


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 40
    assert {package(".".join(module_name(path))) for path in FILES} <= set(ALLOWED), "a package without a rule"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_point_one_way(path: Path) -> None:
    own = package(".".join(module_name(path)))
    for line, name in imported_modules(path, parsed(path)):
        target = package(name)
        assert target == own or target == "" or target in ALLOWED[own], (
            f"{path.relative_to(ROOT)}:{line}: {own or 'monai_fss'} imports monai_fss.{name}"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_apps_data_and_handlers_read_and_write_files(path: Path) -> None:
    if package(".".join(module_name(path))) in MAY_WRITE:
        return
    found = [f"{path.relative_to(ROOT)}:{line}: {call}" for line, call in forbidden_calls(parsed(path))]
    assert not found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_has_licence_docstring_and_a_size_to_read(path: Path) -> None:
    text, tree = path.read_text(encoding="utf-8"), parsed(path)
    assert text.startswith("# Copyright (c) monai_fss contributors\n# Licensed under the Apache License, Version 2.0")
    assert ast.get_docstring(tree), "no module docstring"
    assert len(text.splitlines()) <= 300


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import one another, in a ring."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for other in sorted(imports.get(module, ())):
                visit(other, [*way, module])
            done.add(module)

    for module in sorted(imports):
        visit(module, [])
    return found


def crowded(paths: Iterable[Path]) -> dict[str, int]:
    """Folders with more Python files than can be looked over, and how many."""
    counts = Counter(str(path.parent) for path in paths)
    return {folder: count for folder, count in counts.items() if count > MOST_FILES}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """A package's own __init__ imports its modules, and they may import one another: no ring of modules."""
    modules = {".".join(module_name(path)): path for path in FILES if path.name != "__init__.py"}
    imports = {
        name: {target for _, target in imported_modules(path, parsed(path)) if target in modules and target != name}
        for name, path in modules.items()
    }
    assert len(imports) > 100 and circles(imports) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]


def test_no_folder_is_crowded() -> None:
    ours = [path.relative_to(ROOT) for path in FILES if path.relative_to(ROOT).parts[0] in ("apps", "data", "inferers")]
    assert crowded(ours) == {}
    assert crowded(Path("apps") / f"{number}.py" for number in range(16)) == {"apps": 16}


@pytest.mark.parametrize("path", sorted((ROOT / "bundles").glob("*/configs/*.yaml")), ids=lambda p: str(p)[-40:])
def test_bundles_name_nothing_of_the_commands(path: Path) -> None:
    assert "monai_fss.apps" not in path.read_text(encoding="utf-8")


def test_importing_the_package_loads_neither_torch_nor_monai() -> None:
    code = "import sys, monai_fss; print(sorted({'torch', 'monai', 'numpy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_rules_see_what_they_should() -> None:
    source = (
        "from ..blocks import prototype\nfrom . import few_shot\nimport monai_fss.data.episodes.series\n"
        "def f():\n    from monai_fss import apps\n    return import_module('monai_fss.data.files.writer')\n"
    )
    found = [name for _, name in imported_modules(ROOT / "networks" / "nets" / "adnet.py", ast.parse(source))]
    assert sorted(found) == [
        "apps",
        "data.episodes.series",
        "data.files.writer",
        "networks.blocks.prototype",
        "networks.nets.few_shot",
    ]
    calls = (
        "open(p, 'w')\nopen(p)\nopen(p, 'rb')\np.open('rb')\np.write_text(t)\ntorch.save(x, p)\nnib.save(x, p)\n"
        "figure.savefig(p)\nbuffer = io.BytesIO()\nfigure.savefig(buffer)\nnib.load(p)\n"
    )
    assert [line for line, _ in forbidden_calls(ast.parse(calls))] == [1, 2, 5, 6, 7, 8, 11]
