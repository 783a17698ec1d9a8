# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss release`: write the bundle of a trained model, as the model zoo takes it."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.data import ScanError

if TYPE_CHECKING:
    from monai_fss.results import Results

__all__ = ["add_arguments", "release", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--bundle", help="method (default: the one that --model names; atlas without)")
    parser.add_argument("--model", help="model.pt of a training; the atlas needs none")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder: the bundle, under its own name")
    parser.add_argument(
        "--results", metavar="DIR", help="folder of an evaluation of this model: its figures go into docs"
    )
    parser.add_argument("--notes", metavar="FILE", help="Markdown: on what it was trained, and what it is worth")
    parser.add_argument("--version", help="of the release, such as 0.2.0 (default: the bundle's)")
    parser.add_argument("--changes", help="what is new in this version (default: that it has this model)")
    parser.add_argument("--url", help="where models/model.pt can be downloaded, if it has more than 25 MB")
    parser.add_argument("--half", action="store_true", help="store weights in half precision: half as large")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    notes = _text(args.notes) if args.notes else ""
    folder = release(
        args.bundle,
        args.model,
        Path(args.output),
        results=args.results,
        notes=notes,
        version=args.version,
        changes=args.changes,
        url=args.url,
        half=args.half,
    )
    print(f"{folder}: written, and passes monai-fss verify (full)")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"  {file.relative_to(folder).as_posix()}  {file.stat().st_size / 1000:.0f} kB")
    return 0


def release(
    bundle: str | None,
    model: str | Path | None,
    output: Path,
    *,
    results: str | Path | None = None,
    notes: str = "",
    version: str | None = None,
    changes: str | None = None,
    url: str | None = None,
    half: bool = False,
) -> Path:
    """
    Write the bundle of a trained model. What does not pass :func:`monai_fss.apps.verify.command.verify` is not written.

    Args:
        bundle: name of an installed bundle. None: the one that the model names, or the atlas without a model.
        model: model file; None for a method that is not trained.
        output: new folder; its name is the bundle's to MONAI's tools.
        results: folder of an evaluation of the model.
        notes: Markdown for the page in docs.
        version, changes: of the release. Default: the bundle's version, and that it has this model.
        url: where the model can be downloaded, needed where it is larger than the zoo takes.
        half: store weights in half precision.

    Returns:
        the folder.

    Raises:
        UsageError: an option that does not fit.
        ScanError: the model cannot be read, or the bundle would not pass.
    """
    from monai_fss.apps.release.documents import About
    from monai_fss.apps.release.folder import name_large_files, write_bundle
    from monai_fss.apps.verify.command import verify
    from monai_fss.data import read_model

    if output.exists():
        raise UsageError(f"--output {output}: exists already. Name a new folder; its name is that of the bundle.")
    content = read_model(model) if model else None
    method = Method(_bundle(bundle, content, model))
    source, number = bundle_path(method.bundle), version or _metadata(method)["version"]
    about = About(
        method.bundle,
        content["settings"] if content else {},
        number,
        changes or ("" if content is None else f"with a model of {method.bundle}"),
        notes,
        _results(results),
        _run_note(model),
    )
    with TemporaryDirectory() as temporary:
        made = Path(temporary) / output.name
        write_bundle(source, made, content, about, half)
        size = (made / "models" / "model.pt").stat().st_size / 1e6
        if name_large_files(made, url or "") and not url:
            raise UsageError(f"--url: is needed. The model has {size:.0f} MB, and the zoo takes 25 MB a file.")
        problems = verify(made)
        if problems:
            raise ScanError([problem.replace(str(made), str(output)) for problem in problems])
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, output)
    return output


def _bundle(bundle: str | None, content: dict[str, Any] | None, model: str | Path | None) -> str:
    """The bundle that is released; a model of another one is refused."""
    own = content["bundle"] if content else "atlas"
    if bundle is None and own is None:
        raise UsageError(f"--bundle: is needed, since {model} does not say which it is of.")
    name = bundle or own
    trained = Method(name).is_trained
    if trained and content is None:
        raise UsageError(f"--model: is needed, since {name} is trained. Give the model.pt of a training.")
    if not trained and content is not None:
        raise UsageError(f"--model {model}: {name} is not trained. Leave it out.")
    if content and own not in (None, name):
        raise UsageError(f"--model {model}: is of {own}, not of {name}. Leave --bundle out.")
    return name


def _metadata(method: Method) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((method.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return content


def _results(folder: str | Path | None) -> Results | None:
    from monai_fss.results import read_results

    if folder is None:
        return None
    try:
        return read_results(folder)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(f"--results {error}") from error


def _run_note(model: str | Path | None) -> dict[str, Any]:
    file = Path(model).parent / "run.json" if model else None
    if file is None or not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file}: cannot be read ({error}). Remove it, or name the model elsewhere.") from error
    return content if isinstance(content, dict) else {}


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--notes {file}: cannot be read ({error}). Name a text file.") from error
