# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A method's configuration: its bundle's file, the recipe that is laid over it, and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_path, config_keys, is_trained, recipe_names

__all__ = ["cancelled_keys", "method_files", "method_settings", "recipe_content"]


def method_files(bundle: str, recipe: str | None = None) -> list[Path]:
    """The configuration of a method: of the training, or of the inference where nothing is trained.

    Args:
        bundle: such as "crapnet".
        recipe: file of the bundle's configs/ to lay over it, such as "blocks_7". Default: none.

    Raises:
        UsageError: there is no such bundle or recipe.
    """
    configs = bundle_path(bundle) / "configs"
    main = configs / ("train.yaml" if is_trained(bundle) else "inference.yaml")
    if recipe is None:
        return [main]
    if recipe not in recipe_names(bundle):
        known = ", ".join(recipe_names(bundle)) or "none"
        raise UsageError(f"--bundle {bundle}:{recipe}: has no such recipe. {bundle} has {known}.")
    return [main, configs / f"{recipe}.yaml"]


def method_settings(bundle: str, recipe: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a method, see :func:`.bundles.config_keys`; ``settings`` go before the files."""
    return {**config_keys(method_files(bundle, recipe)), **settings}


def recipe_content(bundle: str, recipe: str | None) -> dict[str, Any] | None:
    """What a recipe's file says, for the note of a training; None without a recipe."""
    from monai.bundle import ConfigParser

    return None if recipe is None else dict(ConfigParser.load_config_files([str(method_files(bundle, recipe)[1])]))


def cancelled_keys(bundle: str, recipe: str | None, settings: Mapping[str, Any]) -> list[str]:
    """What a recipe changes, if settings change all of it, so that nothing is left of the recipe.

    Args:
        bundle: method.
        recipe: of the bundle, or None.
        settings: of the user; a key may be at any level, as ``elastic`` or ``elastic::rotate``.

    Returns:
        the recipe's keys whose value is not that of the bundle's own file; none if one of them keeps its value.
    """
    before = config_keys(method_files(bundle))
    changed = [key for key, value in _leaves(recipe_content(bundle, recipe) or {}) if before.get(key) != value]
    kept = [key for key in changed if not any(key == name or key.startswith(f"{name}::") for name in settings)]
    return [] if kept else changed


def _leaves(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Key, with ``::`` between levels, and value of all that is no mapping."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}::")
        else:
            yield f"{path}{key}", value
