# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the app can segment with: the atlas, and each trained model that lies in its folder of models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.info import bundle_facts
from monai_fss.apps.methods.bundles import bundle_names
from monai_fss.apps.methods.method import Method
from monai_fss.data import ScanError, natural_key, read_model
from monai_fss.digests import file_states

__all__ = ["ATLAS", "Segmenter", "find_segmenters", "trainable"]

ATLAS = "atlas"


@dataclass(frozen=True)
class Segmenter:
    """
    A method, ready to be asked.

    Args:
        name: of the model as clients choose it.
        method: what segments.
        model: its model file; None for a method that is not trained.
    """

    name: str
    method: Method
    model: Path | None = None

    @property
    def description(self) -> str:
        """One line for clients."""
        text = bundle_facts(self.method.bundle)["description"] or self.method.bundle
        return f"{text} (by labelled studies of the datastore)" if self.method.needs_support else str(text)

    @property
    def dimension(self) -> int:
        """3: masks are volumes, whatever the network looks at."""
        return 3

    def options(self) -> dict[str, Any]:
        """Parameters of a request with their defaults, as viewers list them; of a list the first is the default."""
        options: dict[str, Any] = {"organs": ""}
        if self.method.needs_support:
            options |= {"support": "", "most_alike": 0}
        if self.method.is_few_shot:
            options |= {"support_slices": ["middle", "all"], "prior": ["none", ATLAS]}
        if self.method.bundle == ATLAS:
            options["preset"] = ["accurate", "fast"]
        return {**options, "quality": True, "device": _devices(), "set": ""}

    @property
    def learnt(self) -> dict[str, int]:
        """Organs that the model itself has learnt, name to value; empty where labelled scans say what is segmented."""
        if self.method.needs_support or self.model is None:
            return {}
        settings = _facts(self.model, file_states(self.model))[1]
        values = settings.get("values") or []
        names = settings.get("class_names") or [f"label_{value}" for value in values]
        return {str(name): int(value) for name, value in zip(names, values, strict=True)}


def find_segmenters(folder: Path) -> tuple[dict[str, Segmenter], dict[str, str]]:
    """
    Look what there is.

    Args:
        folder: of the models: ``<name>/model.pt``, as the app's trainings write them, or ``<name>.pt``.

    Returns:
        name to :class:`Segmenter`, the atlas first; and name to what is wrong with a file that cannot be used.
    """
    found, problems = {ATLAS: Segmenter(ATLAS, Method(ATLAS))}, {}
    files = {file.stem: file for file in folder.glob("*.pt")} | {f.parent.name: f for f in folder.glob("*/model.pt")}
    for name in sorted(files, key=natural_key):
        file = files[name]
        try:
            if name == ATLAS:
                raise UsageError(f"{file}: has the name of the method that needs no model. Give it another name.")
            bundle = _facts(file, file_states(file))[0]
            if bundle is None:
                raise UsageError(f"{file}: does not say of which method it is. Train it with this package.")
            found[name] = Segmenter(name, Method(bundle), file)
        except (ScanError, UsageError) as error:
            problems[name] = str(error)
    return found, problems


def trainable(names: str = "") -> list[Method]:
    """
    Methods that can be trained.

    Args:
        names: of those wanted, with commas. Default: all, ADNet, the default of the commands, first.

    Raises:
        UsageError: one of them is not there, or is not trained.
    """
    known = sorted(bundle_names(), key=lambda name: (name != "adnet", name))
    methods = {method.bundle: method for method in map(Method, known) if method.is_trained}
    wanted = [name for name in map(str.strip, names.split(",")) if name] or list(methods)
    strange = [name for name in wanted if name not in methods]
    if strange:
        raise UsageError(f"trainers {', '.join(strange)}: not known. Choose from {', '.join(methods)}.")
    return [methods[name] for name in wanted]


@lru_cache(maxsize=64)
def _facts(file: Path, state: tuple[Any, ...]) -> tuple[str | None, dict[str, Any]]:
    """Bundle and settings of a model file in this state."""
    content = read_model(file)
    return content["bundle"], content["settings"]


@lru_cache(maxsize=1)
def _devices() -> list[str]:
    """What PyTorch can compute on, the default first."""
    import torch

    return ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
