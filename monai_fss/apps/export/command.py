# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss export`: a method that has been shown its labelled scan, as TorchScript, ONNX or a bundle."""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from monai_fss.apps.arguments import label_values, support_slices
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.method import Method
from monai_fss.apps.segment.command import chosen_method
from monai_fss.data import InputWarning, ScanError

if TYPE_CHECKING:
    from monai_fss.apps.export.shown import Shown

__all__ = ["FORMATS", "add_arguments", "check_format", "export", "run"]

FORMATS = ("ts", "onnx", "bundle")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--bundle", help="method (default: the one that --model names; atlas without)")
    parser.add_argument("--model", help="model.pt of a training; the atlas needs none")
    parser.add_argument("--support-image", nargs="+", default=[], help="labelled scan(s); unet_3d needs none")
    parser.add_argument("--support-label", nargs="+", default=[], help="their label(s), in the same order")
    parser.add_argument("--support-slices", metavar="N", help="labelled slices that are shown: middle, all or a number")
    parser.add_argument("--labels", help="label values, such as 1,4 (default: all of the support)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        required=True,
        help="ts: TorchScript; onnx: needs the extra onnx; bundle: one that asks for no labelled scan",
    )
    parser.add_argument("--output", required=True, metavar="PATH", help="new file, or new folder of the bundle")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from monai_fss.apps.export.shown import shown_method

    method = chosen_method(args.bundle, args.model)
    check_format(method, args.format)
    output = Path(args.output)
    if output.exists():
        raise UsageError(f"--output {output}: exists already. Name a new one.")
    slices = support_slices(args.support_slices) if args.support_slices else None
    if slices is not None and method.registers:
        raise UsageError(f"--support-slices {slices}: {method.bundle} uses whole labelled scans. Leave it out.")
    shown = shown_method(method, args.model, args.support_image, args.support_label, label_values(args.labels), slices)
    print(export(shown, args.format, output))
    return 0


def check_format(method: Method, form: str) -> None:
    """
    Refuse what a method cannot be exported as, with the reason.

    Raises:
        UsageError: as said.
    """
    reason = ""
    if form == "bundle" and not method.needs_support:
        reason = "asks for no labelled scan as it is. Write its bundle by monai-fss release"
    elif form != "bundle" and method.registers:
        reason = "registers the labelled scan to each scan, which no network file can do. Take --format bundle"
    elif form != "bundle" and method.learns_from_one_scan and not _by_one_network(method):
        reason = (
            "registers each scan to the labelled one that its model holds, which no network file can do. Write its "
            "bundle by monai-fss release"
        )
    elif form != "bundle" and not (method.is_few_shot or method.is_supervised or method.learns_from_one_scan):
        reason = (
            "finds points in a scan first, and its network sees their surroundings alone: by itself it segments "
            "nothing. Write its bundle by monai-fss release"
        )
    elif form != "bundle" and method.is_supervised and not _by_one_network(method):
        reason = (
            "segments in stages, of which a network file would be the first, without regions, prior and the networks "
            "of the small organs. Write its bundle by monai-fss release"
        )
    if reason:
        raise UsageError(f"--format {form}: {method.bundle} {reason}.")


def _by_one_network(method: Method) -> bool:
    """Whether masks are what the network says in windows, and nothing besides."""
    return str(config_keys([method.inference_file])["inferer::_target_"]) == "monai_fss.inferers.WindowInferer"


def export(shown: Shown, form: str, output: Path) -> str:
    """
    Write what was shown its labelled scans; what differs from the network itself is not written.

    Args:
        shown: the method.
        form: one of :data:`FORMATS` that :func:`check_format` allows.
        output: new file, or new folder.

    Returns:
        what was written, in a sentence.

    Raises:
        UsageError: it cannot be exported.
        ScanError: the bundle would not pass :func:`monai_fss.apps.verify.command.verify`.

    Warns:
        InputWarning: labelled scans lie in the bundle.
    """
    from monai_fss.apps.export.frozen import frozen_config, frozen_metadata, write_frozen
    from monai_fss.apps.export.networks import write_onnx, write_torchscript

    organs = ", ".join(f"{value} {name}" for value, name in zip(shown.values, shown.names, strict=True))
    if form == "bundle":
        _write_bundle(shown, output, write_frozen)
        return f"{output}: a bundle that asks for no labelled scan; it segments {organs}"
    assert shown.network is not None
    metadata = frozen_metadata(shown)
    image = metadata["network_data_format"]["inputs"]["image"]
    of_image = (image["num_channels"], image["spatial_shape"])
    if form == "ts":
        config = frozen_config(shown) if shown.method.is_few_shot else _config_of(shown)
        most = write_torchscript(output, shown.network, *of_image, metadata, {"inference": config})
    else:
        note = {"bundle": shown.method.bundle, "settings": shown.settings, "values": shown.values, "names": shown.names}
        most = write_onnx(output, shown.network, *of_image, note)
    return f"{output}: image (B, {image['num_channels']}, ...) -> logits of background, {organs}; differs by {most:.1g}"


def _config_of(shown: Shown) -> dict:
    """inference.yaml of a method that has learnt what to segment, with the settings of its model."""
    import yaml

    from monai_fss.apps.release.yaml_text import with_values

    text = shown.method.inference_file.read_text(encoding="utf-8")
    content: dict = yaml.safe_load(with_values(text, shown.settings))
    content["inferer"].pop("_requires_", None)  # the file that it would look at is this one
    return {**content, "bundle_root": "."}


def _write_bundle(shown: Shown, output: Path, write: object) -> None:
    from monai_fss.apps.verify.command import verify

    with TemporaryDirectory() as temporary:
        made = Path(temporary) / output.name
        write(made, shown)  # type: ignore[operator]
        problems = verify(made)
        if problems:
            raise ScanError([problem.replace(str(made), str(output)) for problem in problems])
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, output)
    if shown.network is None:
        warnings.warn(
            f"{output}: holds {len(shown.support)} labelled scan(s), in support/. Hand it on only where these may go.",
            InputWarning,
            stacklevel=3,
        )
