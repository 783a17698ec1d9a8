# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files of a new bundle: those of another one with the method's name, network and loss put in."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path

from monai_fss.apps.new_bundle.readme import README

__all__ = ["Part", "bundle_files"]

_CONFIGS = ("train.yaml", "inference.yaml", "evaluate.yaml", "multi_gpu_train.yaml", "logging.conf")
_LISTS = re.compile(r"^(settings: \{|- \{_target_: monai_fss\.engines\.check_settings)[^}]*\}", re.MULTILINE)
"""What lists settings: those that a model file hands on to inference, and those that are checked."""


@dataclass(frozen=True)
class Part:
    """
    A class that takes the place of another in the configurations.

    Args:
        block: id in the configurations, ``"network_def"`` or ``"loss"``.
        cls: the class.
        path: dotted, that it is imported by.
    """

    block: str
    cls: type
    path: str

    def takes(self, argument: str) -> bool:
        """Whether its constructor has this argument."""
        parameters = inspect.signature(self.cls).parameters
        return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def bundle_files(source: Path, name: str, parts: list[Part]) -> dict[str, str]:
    """
    Write a bundle, in memory.

    What is the source's alone is left out: its recipes, weights, paper, figures, and settings that are handed to
    nothing any more since a new class does not take them.

    Args:
        source: folder of a few-shot bundle.
        name: of the new one, a plain identifier.
        parts: classes that take the place of the source's own. Those that are not named stay.

    Returns:
        path in the new bundle, with ``/``, to its text.
    """
    files = {f"configs/{file}": _read(source / "configs" / file) for file in _CONFIGS}
    files |= {f"scripts/{path.name}": _unsaid(_read(path)) for path in sorted((source / "scripts").glob("*.py"))}
    files["models/README.md"] = _without_model(_read(source / "models" / "README.md"), name)
    files = {path: _renamed(text, source.name, name) for path, text in files.items()}
    for path in ("configs/train.yaml", "configs/inference.yaml"):
        for part in parts:
            files[path] = _exchanged(files[path], part)
    metadata = json.loads(_read(source / "configs" / "metadata.json"))
    metadata |= {
        "version": "0.1.0",
        "changelog": {"0.1.0": "first version"},
        "name": f"{name} few-shot segmentation",
        "description": f"Few-shot segmentation of organs by {name}, which trains on unlabelled scans",
        "references": [],
    }
    channels = metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    files["configs/metadata.json"] = json.dumps(metadata, indent=4, ensure_ascii=False) + "\n"
    files["docs/README.md"] = README.replace("NAME", name).replace("CHANNELS", str(channels))
    files["LICENSE"] = _read(source / "LICENSE")
    return files


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _without_model(page: str, name: str) -> str:
    """The page of models without what is said of the source's example."""
    page = re.sub(r"^# Models of .*", f"# Models of {name}", page)
    card = r"^`model\.pt` comes with the bundle(?:.*\n)+?.*and then replaces it:\n"
    none = "No weights come with the bundle. A training writes here, unless `--output_dir` names another folder:\n"
    return re.sub(card, none, page, flags=re.MULTILINE)


def _unsaid(script: str) -> str:
    """A script that prepares public data, of whose docstring the commands stay and what the paper does is asked for."""
    head, docstring, code = script.split('"""', 2)
    commands = "".join(line for line in docstring.splitlines(keepends=True) if line.startswith("    "))
    asked = "<What it makes of which public data, as the paper has it.> Organs and folds are still another method's."
    return f'{head}"""\n{asked}\n\n{commands}"""{code}'


def _renamed(text: str, old: str, new: str) -> str:
    """With the bundle's name, where it is a word and no part of a dotted one, and in the title of train.yaml."""
    text = re.sub(rf"(?<![A-Za-z0-9.]){re.escape(old)}(:paper)?(?!\w)", new, text)  # a new one has no recipes
    return re.sub(r"^(# Self-supervised training of ).+?( on unlabelled scans)", rf"\g<1>{new}\g<2>", text)


def _exchanged(text: str, part: Part) -> str:
    """With another class in a block, without the arguments that it does not take and what they alone refer to."""
    found = re.search(rf"^{part.block}:\n(?:  .*\n)+", text, re.MULTILINE)
    if found is None:
        return text
    lines, left_out = [], []
    for line in found[0].splitlines(keepends=True):
        argument = re.match(r"  (\w+): (?=\S)", line)  # one that is written on its line
        if line.startswith("  _target_:"):
            line = f"  _target_: {part.path}\n"
        elif argument and not part.takes(argument[1]):
            left_out.append(line)
            continue
        lines.append(line)
    text = text[: found.start()] + "".join(lines) + text[found.end() :]
    for key in re.findall(r"@(\w+)", "".join(left_out)):
        text = _without(text, key)
    return text


def _without(text: str, key: str) -> str:
    """Without a setting that nothing refers to but the mappings that store it in a model file or check it."""
    if re.search(rf"@{key}\b", _LISTS.sub("", text)):
        return text
    text = _LISTS.sub(lambda found: _lost(found[0], key), text)
    return re.sub(rf"^{key}:.*\n", "", text, flags=re.MULTILINE)


def _lost(mapping: str, key: str) -> str:
    """A mapping of settings without one of them."""
    return re.sub(r",\s+}", "}", re.sub(rf'\b{key}: "@{key}"(,\s+)?', "", mapping))
