# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A method that has been shown its labelled scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.apps.segment.options import check_labels, check_support_options
from monai_fss.data import ScanError, check_support, label_names, load_model, read_model

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Shown", "shown_method"]


@dataclass(frozen=True)
class Shown:
    """
    A method with its labelled scans.

    Args:
        method: which.
        content: of its model file, see :func:`monai_fss.data.read_model`; None for a method that is not trained.
        network: that has been conditioned, in evaluation mode; None where the method has none, or where its inferer
            shows it each scan anew.
        values: label value of each way.
        names: of the label values.
        pieces: in how many pieces the labelled scans show each value.
        support: files of the labelled scans, image and label each.
    """

    method: Method
    content: dict[str, Any] | None
    network: nn.Module | None
    values: list[int]
    names: list[str]
    pieces: list[int]
    support: list[tuple[Path, Path]]

    @property
    def settings(self) -> dict[str, Any]:
        """Those that the model was trained with."""
        return dict(self.content["settings"]) if self.content else {}


def shown_method(
    method: Method,
    model: str | Path | None,
    images: Sequence[str | Path],
    labels: Sequence[str | Path],
    values: Sequence[int] | None = None,
    slices: int | str | None = None,
) -> Shown:
    """
    Show a method its labelled scans.

    Args:
        method: which.
        model: its model file; None for a method that is not trained.
        images, labels: labelled scans, in the same order; none for a method that has learnt what to segment.
        values: label values wanted. Default: all.
        slices: of them that are shown, see :func:`monai_fss.inferers.select_slices`. Default: the middle one.

    Raises:
        UsageError: labelled scans are missing, without which a network knows no organ, or are given to a method that
            takes none.
        ScanError: with every problem of the model and of the scans.
    """
    files = [str(image) for image in images], [str(label) for label in labels]
    check_support_options(method, *files, None if slices is None else str(slices))
    _check(*files, values)
    content = read_model(model) if model else None
    settings: dict[str, Any] = {"labels": None if values is None else list(values), "device": "cpu"}
    if method.needs_support:
        settings |= {"support_image": files[0], "support_label": files[1]}
    if method.is_few_shot:
        settings |= {"support_slices": slices or "middle"}
    parser = inference_parser(method, content["settings"] if content else {}, settings, model or method.bundle)
    check_labels(values, parser, model, method.needs_support)
    network = None
    if model and not method.registers:
        network = load_model(model, parser.get_parsed_content("network_def")).eval()
    if method.is_few_shot:
        support = parser.get_parsed_content("support")
        network.condition(support.image, support.label)  # type: ignore[union-attr, operator]
    known = [int(value) for value in parser.get_parsed_content("values")]
    return Shown(
        method,
        content,
        network,
        known,
        _names(parser, known, files[1]),
        _pieces(parser, known) if method.needs_support else [1] * len(known),
        list(zip(map(Path, files[0]), map(Path, files[1]), strict=True)),
    )


def _check(images: Sequence[str], labels: Sequence[str], values: Sequence[int] | None) -> None:
    if len(images) != len(labels):
        raise ScanError(f"support: {len(images)} image(s) and {len(labels)} label(s) were given. Give one for each.")
    problems = []
    for image, label in zip(images, labels, strict=True):
        try:
            check_support(image, label, values)
        except ScanError as error:
            problems += error.problems
    if problems:
        raise ScanError(problems)


def _names(parser: Any, values: Sequence[int], labels: Sequence[str]) -> list[str]:
    if "class_names" in parser:
        return [str(name) for name in parser.get_parsed_content("class_names")]
    names = label_names(labels)
    return [str(names.get(value, f"label_{value}")) for value in values]


def _pieces(parser: Any, values: Sequence[int]) -> list[int]:
    counts = parser.get_parsed_content("pieces")
    return [int(counts.get(value, 1)) for value in values]
