# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Options of `monai-fss segment` that do not fit the method: refused, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.arguments import gigabytes
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.method import NO_PRIOR, Method
from monai_fss.data import ScanError

__all__ = ["cache_setting", "check_labels", "check_support_options", "prior_setting", "prnet_problems", "prnet_setting"]


def check_support_options(method: Method, images: Sequence[str], labels: Sequence[str], slices: str | None) -> None:
    """Refuse labelled scans where the method takes none, and their absence where it does.

    Args:
        method: what segments.
        images, labels, slices: values of ``--support-image``, ``--support-label`` and ``--support-slices``.

    Raises:
        UsageError: as said.
    """
    if method.needs_support:
        if not images or not labels:
            raise UsageError(
                f"--support-image, --support-label: are needed, as {method.bundle} segments by a labelled scan. Give "
                "both."
            )
        return
    options = {"--support-image": images, "--support-label": labels, "--support-slices": slices}
    given = [option for option, value in options.items() if value]
    if given:
        raise UsageError(
            f"{', '.join(given)}: {method.bundle} has learnt what to segment and takes no labelled scan. Leave out."
        )


def check_labels(labels: Sequence[int] | None, parser: Any, model: str | Path | None, supported: bool) -> None:
    """Refuse a label that a model has not learnt, where that is fixed.

    Args:
        labels: wanted.
        parser: of the bundle's ``configs/inference.yaml``; ``values`` are those of a model that has learnt what to
            segment.
        model: its file, for the message.
        supported: whether labelled scans say what is segmented; their labels are checked with them.

    Raises:
        UsageError: as said.
    """
    known = None if supported else parser.config["values"]
    strange = sorted(set(labels or ()) - set(known or labels or ()))
    if strange:
        raise UsageError(
            f"--labels {_text(strange)}: {model} was trained for labels {_text(known or ())} only. Choose from these."
        )


def _text(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def prior_setting(method: Method, prior: str | None) -> dict[str, Any]:
    """The setting of ``--prior``: none where it is not given.

    Raises:
        UsageError: the method is registration itself, or takes no labelled scan.
    """
    if prior is None:
        return {}
    if not method.needs_support and not method.has_prior:
        raise UsageError(f"--prior {prior}: registers a labelled scan, and {method.bundle} takes none. Leave it out.")
    if not method.has_prior:
        raise UsageError(
            f"--prior {prior}: joins a trained model; {method.bundle} alone is registration. Leave it out."
        )
    return {"prior": None if prior == NO_PRIOR else prior}


def prnet_setting(method: Method, file: str | None) -> dict[str, Any]:
    """The setting of ``--prnet``.

    Raises:
        UsageError: the method takes no labelled scan whose label masks could be compared with.
    """
    if file and not method.needs_support:
        more = "; its column quality is such a comparison" if "scribbles" in method.known else ""
        raise UsageError(
            f"--prnet {file}: compares masks with those of a labelled scan, and {method.bundle} takes none. Leave it "
            f"out{more}."
        )
    return {"prnet": file} if file else {}


def cache_setting(method: Method, size: str | None) -> dict[str, Any]:
    """The setting of ``--cache-size``.

    Raises:
        UsageError: it is no size, or the method keeps nothing.
    """
    if size is None:
        return {}
    room = gigabytes(size, "--cache-size")
    if "cache_gb" not in config_keys([method.inference_file]):
        raise UsageError(f"--cache-size {size}: is of kept registrations, and {method.bundle} has none. Leave it out.")
    return {"cache_gb": room}


def prnet_problems(file: str | Path | None) -> list[str]:
    """What is wrong with a file of PRNet's networks; nothing where there is none to be used."""
    from monai_fss.inferers import load_prnet

    try:
        if file:
            load_prnet(file)
    except ScanError as error:
        return error.problems
    return []
