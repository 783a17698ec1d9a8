# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss new-bundle`: write the bundle of a new few-shot method."""

from __future__ import annotations

import argparse
import keyword
import re
import shutil
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_names, bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.apps.new_bundle.files import Part, bundle_files
from monai_fss.data import write_text_atomic

__all__ = ["add_arguments", "new_bundle", "run"]

SOURCE = "panet"
"""It hands its network nothing but an encoder, and so fits most methods."""
_NAME, _LONGEST = re.compile(r"[a-z][a-z0-9_]*", re.ASCII), 40
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="of the bundle: lower-case letters, digits and _")
    parser.add_argument(
        "--from",
        dest="source",
        default=SOURCE,
        metavar="BUNDLE",
        help=f"few-shot bundle that it is made from (default: {SOURCE}, which hands its network an encoder alone)",
    )
    parser.add_argument("--network", metavar="CLASS", help="such as monai_fss.networks.nets.PANet (default: BUNDLE's)")
    parser.add_argument("--loss", metavar="CLASS", help="such as monai_fss.losses.SegmentationLoss (default: BUNDLE's)")
    parser.add_argument(
        "--output", metavar="FOLDER", help="folder in which NAME is made (default, in a clone: its bundles)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    folder = new_bundle(args.name, args.source, args.network, args.loss, Path(args.output) if args.output else None)
    installed = folder.parent.resolve() == bundle_path(SOURCE).parent.resolve()
    print(f"{folder}: written, from {args.source}; one step of its training has been tried")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"  {file.relative_to(folder).as_posix()}")
    print(_next_steps(folder, args.name, installed))
    return 0


def new_bundle(
    name: str,
    source: str = SOURCE,
    network: str | None = None,
    loss: str | None = None,
    output: Path | None = None,
) -> Path:
    """
    Write the bundle of a new method. It is tried before: what cannot take a step of training is not written.

    Args:
        name: of the bundle: lower-case letters, digits and ``_``.
        source: few-shot bundle that it is made from. Arguments that the new classes do not take are left out.
        network: dotted path of a subclass of :class:`monai_fss.networks.nets.FewShotNet`. Default: the source's.
        loss: dotted path of a ``torch.nn.Module``. Default: the source's.
        output: folder in which the folder ``name`` is made. Default: ``bundles`` of the clone that is worked in.

    Returns:
        the new folder.

    Raises:
        UsageError: a name, class or folder that does not fit, or a network and a loss that do not fit together.
    """
    _check_name(name)
    if source not in bundle_names() or not Method(source).is_few_shot:
        known = [bundle for bundle in bundle_names() if Method(bundle).is_few_shot]
        raise UsageError(f"--from {source}: is no few-shot bundle. Take one of {', '.join(known)}.")
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"--output {output}: is a file. Name a folder; it is made if it does not exist.")
    folder = (output or _clone_bundles()) / name
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder}: exists already. Choose another name, or remove it first.")
    parts = _parts(network, loss)
    from monai_fss.apps.new_bundle.trial import try_bundle

    with TemporaryDirectory() as temporary:
        trial = Path(temporary) / name
        for path, text in bundle_files(bundle_path(source), name, parts).items():
            write_text_atomic(trial / path, text)
        try_bundle(trial)
        shutil.copytree(trial, folder)
    return folder


def _check_name(name: str) -> None:
    """Refuse what is no plain name; what is one means nothing to YAML, MONAI's parser or a file system."""
    odd = keyword.iskeyword(name) or (_NAME.fullmatch(name) and yaml.safe_load(name) != name)  # null, yes, off
    if not _NAME.fullmatch(name) or odd or len(name) > _LONGEST:
        raise UsageError(
            f"NAME {name!r}: cannot name a bundle. Take up to {_LONGEST} lower-case letters, digits and _, a letter "
            "first, and no word that means something to Python or YAML: such as nearest_prototype."
        )


def _clone_bundles() -> Path:
    """The folder ``bundles`` of the repository, if the command is run in it."""
    import monai_fss

    root = Path(monai_fss.__file__).resolve().parents[1]
    here = Path.cwd().resolve()
    if not ((root / "setup.cfg").is_file() and (root / "bundles").is_dir()) or root not in (here, *here.parents):
        raise UsageError(
            "--output: is needed, since this is not the clone of the repository that monai_fss is installed from. "
            "Name the folder that the bundle is made in."
        )
    return root / "bundles"


def _parts(network: str | None, loss: str | None) -> list[Part]:
    from torch import nn

    from monai_fss.networks.nets import FewShotNet

    parts = []
    if network is not None:
        parts.append(Part("network_def", _imported(network, "--network", FewShotNet), network))
    if loss is not None:
        parts.append(Part("loss", _imported(loss, "--loss", nn.Module), loss))
    return parts


def _imported(path: str, option: str, base: type) -> type:
    if not _DOTTED.fullmatch(path):
        raise UsageError(
            f"{option} {path!r}: is no class. Write package and class, such as my_package.{base.__name__}."
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{option} {path}: cannot be imported ({error}). Write the class first, and name it in the __init__.py "
            "of its folder; a package of your own has to be installed."
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UsageError(f"{option} {path}: is no subclass of {base.__name__}. Derive it from {base.__name__}.")
    return found


def _next_steps(folder: Path, name: str, installed: bool) -> str:
    steps = [
        "say in docs/README.md, and in what is in scripts/, what stands there in <angle brackets>",
        "name the paper in configs/metadata.json (references), and the range of the logits (value_range)",
    ]
    if installed:
        steps = [
            f"python -m pytest tests/bundles/test_contract.py -k {name}",
            f"monai-fss train --bundle {name} --data DATA --output RUN",
            *steps,
            "add the method to the table in the repository's README.md",
        ]
    else:  # the commands of monai-fss look for bundles in the package
        steps = [
            f"cd {folder}",
            "python -m monai.bundle run training --config_file configs/train.yaml --dataset_dir DATA",
            *steps,
        ]
    return "\n".join(["Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])
