# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A method: a bundle, the recipe that is laid over its training, and values that are set in its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_path, config_keys
from monai_fss.apps.methods.settings import parse_settings, split_pairs
from monai_fss.data import sha256_of

__all__ = ["NO_PRIOR", "PRIORS", "RECIPE", "TRAIN_YAML", "Method"]

RECIPE, TRAIN_YAML = "recipe_content", "train_yaml_sha256"
"""Keys of :meth:`Method.note`."""
NO_PRIOR = "none"
"""Of the option ``--prior``: the network alone."""
PRIORS = ("atlas", NO_PRIOR)
_STAGES = ("pretrain", "propagate", "fine", "teach")
_NO_RECIPES = {"train", "inference", "evaluate", *_STAGES}


@dataclass(frozen=True)
class Method:
    """
    A bundle, with a recipe and values of its own.

    Args:
        bundle: name of an installed bundle, such as "crapnet".
        recipe: file of its configs/ to lay over train.yaml, such as "paper". Default: none.
        values: settings that go before those of the files, key (``::`` between levels) to value. Default: none.

    Raises:
        UsageError: there is no such bundle or recipe.
    """

    bundle: str
    recipe: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bundle_path(self.bundle)
        if self.recipe is not None and self.recipe not in self.recipes:
            known = ", ".join(self.recipes) or "none"
            near = f", such as {self.bundle}:steps=400" if self.is_trained else ""
            raise UsageError(
                f"--bundle {self.bundle}:{self.recipe}: {self.bundle} has no such recipe. Its recipes: {known}. "
                f"Settings are written as KEY=VALUE{near}."
            )

    @classmethod
    def parse(cls, text: str, reserved: Mapping[str, str] | None = None, inference: bool = False) -> Method:
        """
        Read a method as it is typed.

        Args:
            text: ``"crapnet"``, ``"crapnet:paper"`` (with a recipe), ``"adnet:kappa=0.1,steps=400"`` (with values), or
                both, the recipe first.
            reserved: keys that have an option of their own, and that option.
            inference: whether values are those of inference.yaml, and a recipe, which changes the training, is refused.

        Raises:
            UsageError: there is no such bundle, recipe or setting, or a value does not fit.
        """
        bundle, _, rest = text.partition(":")
        words = split_pairs(rest) if rest else []
        recipes, pairs = [w for w in words if "=" not in w], [w for w in words if "=" in w]
        if len(recipes) > 1:
            raise UsageError(f"--bundle {text}: names {len(recipes)} recipes ({', '.join(recipes)}). Name one.")
        method = cls(bundle, recipes[0] if recipes else None)
        if inference and method.recipe is not None:
            raise UsageError(
                f"--bundle {text}: a recipe changes the training, and is in the model file. Leave :{method.recipe} out."
            )
        files = [method.inference_file] if inference else method.files
        return cls(bundle, method.recipe, parse_settings(pairs, files, reserved, f"--bundle {bundle}:"))

    @property
    def name(self) -> str:
        """As it is typed, such as "adnet:kappa=0.1": its name in tables."""
        values = [f"{key}={_typed(value)}" for key, value in self.values.items()]
        more = ",".join([*([self.recipe] if self.recipe else []), *values])
        return f"{self.bundle}:{more}" if more else self.bundle

    @cached_property
    def folder(self) -> Path:
        """Of the bundle."""
        return bundle_path(self.bundle)

    @cached_property
    def is_trained(self) -> bool:
        """Whether it is trained, and so needs a model file. The atlas is not."""
        return (self.folder / "configs" / "train.yaml").is_file()

    @cached_property
    def needs_support(self) -> bool:
        """Whether it segments by labelled scans that it is given then; others have learnt what to segment."""
        return "support_image" in config_keys([self.inference_file])

    @cached_property
    def is_supervised(self) -> bool:
        """Whether it learns from the labels of all its training scans, and not from one scan as PRNet."""
        return self.is_trained and "label_dir" in config_keys(self.files[:1])

    @cached_property
    def learns_from_one_scan(self) -> bool:
        """Whether it learns what to segment from one scan that is labelled in all its slices, as DataAug does."""
        own = config_keys(self.files[:1]) if self.is_trained and not self.needs_support else {}
        return "support" in own and "scribbles" not in own

    @cached_property
    def registers(self) -> bool:
        """Whether it registers the labelled scans, whole, to each scan: it takes no choice of their slices."""
        return self.needs_support and "support_slices" not in config_keys([self.inference_file])

    @cached_property
    def has_prior(self) -> bool:
        """Whether its network can be combined with the atlas; its inference.yaml says whether it is by default."""
        return self.is_trained and "prior" in config_keys([self.inference_file])

    @property
    def is_few_shot(self) -> bool:
        """Whether it is a network that is conditioned on labelled slices or volumes."""
        return self.is_trained and self.needs_support and not self.registers

    @property
    def inference_file(self) -> Path:
        """Its configs/inference.yaml."""
        return self.folder / "configs" / "inference.yaml"

    @property
    def evaluation_files(self) -> list[Path]:
        """inference.yaml, and evaluate.yaml that is merged over it."""
        return [self.inference_file, self.folder / "configs" / "evaluate.yaml"]

    @cached_property
    def files(self) -> list[Path]:
        """Its configuration: of the training with the recipe, or of the inference where nothing is trained."""
        configs = self.folder / "configs"
        main = configs / "train.yaml" if self.is_trained else self.inference_file
        return [main, configs / f"{self.recipe}.yaml"] if self.recipe else [main]

    @cached_property
    def recipes(self) -> list[str]:
        """Names of the files in configs/ that can be laid over train.yaml, sorted."""
        names = (file.stem for file in (bundle_path(self.bundle) / "configs").glob("*.yaml"))
        return sorted(name for name in names if name not in _NO_RECIPES and not name.startswith("multi_gpu"))

    @cached_property
    def known(self) -> dict[str, Any]:
        """Every setting of its files, see :func:`.bundles.config_keys`, with its own values."""
        return {**config_keys(self.files), **self.values}

    def settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """:attr:`known`, before which go ``more``."""
        return {**self.known, **more}

    def reserve(self, reserved: Mapping[str, str]) -> dict[str, str]:
        """``reserved`` with the keys of its own values: on one command line they are set once."""
        return {**reserved, **dict.fromkeys(self.values, f"--bundle {self.name} alone")}

    @cached_property
    def recipe_content(self) -> dict[str, Any] | None:
        """What the recipe's file says; None without a recipe."""
        from monai.bundle import ConfigParser

        return dict(ConfigParser.load_config_files([str(self.files[1])])) if self.recipe else None

    def cancelled_keys(self, settings: Mapping[str, Any]) -> list[str]:
        """What the recipe changes, if settings change all of it, so that nothing is left of the recipe.

        Args:
            settings: of the user; a key may be at any level, as ``elastic`` or ``elastic::rotate``.

        Returns:
            the recipe's keys whose value is not that of the bundle's own file; none if one of them keeps its value.
        """
        before = config_keys(self.files[:1])
        changed = [key for key, value in _leaves(self.recipe_content or {}) if before.get(key) != value]
        kept = [key for key in changed if not any(key == name or key.startswith(f"{name}::") for name in settings)]
        return [] if kept else changed

    def note(self) -> dict[str, Any]:
        """What the note of a training says of it.

        Returns:
            ``bundle`` and ``recipe``; the content of the recipe's file (None without), and the SHA-256 digest of the
            bundle's ``configs/train.yaml``, with those of the stages that it runs first where there are any.
        """
        configs = self.folder / "configs"
        files = [configs / "train.yaml", *(file for name in _STAGES if (file := configs / f"{name}.yaml").is_file())]
        own = {"bundle": self.bundle, "recipe": self.recipe}
        return {**own, RECIPE: self.recipe_content, TRAIN_YAML: sha256_of(*files)}


def _leaves(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Key, with ``::`` between levels, and value of all that is no mapping."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}::")
        else:
            yield f"{path}{key}", value


def _typed(value: Any) -> str:
    """A value as it is typed: 0.1, true, null, [1, 2]."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value).replace(" ", "") if isinstance(value, (list, dict)) else str(value)
