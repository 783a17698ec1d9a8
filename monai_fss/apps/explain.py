# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss explain`: where in the labelled scan a network looks when it decides about a voxel."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_fss.apps.arguments import add_bundle_arguments, label_values
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_names, config_keys
from monai_fss.apps.methods.inference import inference_parser, trained_settings
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import device_setting, parse_settings
from monai_fss.apps.segment.command import RESERVED as OF_SEGMENT
from monai_fss.apps.segment.command import chosen_method
from monai_fss.data import Scan, ScanError, check_output, write_text_atomic
from monai_fss.results.markdown import markdown_table

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

    from monai_fss.inferers import Explanation
    from monai_fss.visualize import Shown

__all__ = ["COLUMNS", "add_arguments", "run"]

COLUMNS = ("level", "mm", "rank", "weight", "x_mm", "y_mm", "z_mm", "i", "j", "k", "label")
PRINTED = 5
"""Related voxels of each level that are printed; the table has all."""
_OTHER = ("support_slices", "prior", "prnet", "probabilities", "quality", "overlays")  # options of `segment` alone
RESERVED = {key: option for key, option in OF_SEGMENT.items() if key not in _OTHER}
RESERVED |= {"dataset_dir": "--image", "labels": "--label"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_bundle_arguments(parser, "inference.yaml", "preset=accurate", None, "the one that --model names")
    parser.add_argument("--model", help="model.pt of a training")
    parser.add_argument("--image", required=True, help="the scan that the voxel is of")
    parser.add_argument("--support-image", required=True, help="labelled scan")
    parser.add_argument("--support-label", required=True, help="its label")
    parser.add_argument(
        "--voxel",
        required=True,
        metavar="X,Y,Z",
        help="which voxel of the scan; write --voxel=-12.5,30,88 where the first number is negative",
    )
    parser.add_argument(
        "--unit",
        choices=("voxel", "mm"),
        default="voxel",
        help="of --voxel: whole numbers from 0, in the order of the scan's file (default), or mm in its world, which "
        "runs to right, anterior, superior as NIfTI's",
    )
    parser.add_argument("--label", help="label value of the organ (default: the one that registration puts there)")
    parser.add_argument("--output", required=True, metavar="FILE.png", help="picture; FILE.csv with the numbers too")
    parser.add_argument("--overwrite", action="store_true", help="replace both if they exist")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from monai_fss.data import atomic_path
    from monai_fss.visualize import to_png

    method = _method(args.bundle, args.model)
    settings = {"cache_dir": None, **method.values}
    settings |= parse_settings(args.set, [method.inference_file], method.reserve(RESERVED))
    picture = Path(args.output)
    if picture.suffix.lower() != ".png":
        raise UsageError(f"--output {picture}: is not the name of a picture. Give one that ends in .png.")
    table = picture.with_suffix(".csv")
    check_output(picture.parent, [picture.name, table.name], overwrite=args.overwrite)
    numbers, value = _numbers(args.voxel, args.unit), _value(args.label)
    scan, support = _scans(args, value)
    voxel, point = _place(numbers, args.unit, scan)
    parser = inference_parser(method, trained_settings(args.model, method), settings, args.model)
    found, image, anchor = _explained(parser, args, point, value)
    rows = list(_rows(found, support, anchor))
    title = f"{scan.path.name}: {_text(point)} mm, label {found.value}, probability {found.probability:.2f}"
    figure = _figure(found, image, point, anchor, title)
    picture.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(picture) as temporary:
        temporary.write_bytes(to_png(figure))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    write_text_atomic(table, text.getvalue())
    print(_summary(found, voxel, point, rows))
    print(f"\nsee {picture} and {table}")
    return 0


def _method(bundle: str | None, model: str | None) -> Method:
    """The method that is named or that the model is of.

    Raises:
        UsageError: it does not compare voxels with those of a labelled scan.
    """
    named = None if bundle is None else Method.parse(bundle, RESERVED, inference=True)
    if named is None and not model:
        raise UsageError("--model: is needed. Give the model.pt of a training.")
    method = named if named is not None and not _explains(named) else chosen_method(bundle, model)
    if _explains(method):
        return method
    if not method.is_trained:
        why = "carries labels over by registration alone, so it looks at one voxel of the labelled scan"
    elif not method.needs_support:
        why = "has learnt what to segment, and looks at no labelled scan"
    else:
        why = "knows the labelled scan by mean features, not voxel by voxel"
    able = [name for name in bundle_names() if _explains(Method(name))]
    raise UsageError(f"--bundle {method.bundle}: {why}. There is nothing to show; {', '.join(able)} can be asked.")


def _explains(method: Method) -> bool:
    return str(config_keys([method.inference_file]).get("inferer::_target_")) == "monai_fss.inferers.OrganNetInferer"


def _numbers(text: str, unit: str) -> list[float]:
    """Of ``--voxel``."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--voxel {text}: is not a place. Write three numbers as 120,80,33.")
    if unit == "voxel" and any(number != int(number) for number in numbers):
        raise UsageError(f"--voxel {text}: has fractions. Give whole numbers, or --unit mm.")
    return numbers


def _value(text: str | None) -> int | None:
    values = label_values(text, "--label")
    if values is not None and len(values) != 1:
        raise UsageError(f"--label {text}: is not one label value. Ask about one organ.")
    return values[0] if values else None


def _scans(args: argparse.Namespace, value: int | None) -> tuple[Scan, Scan]:
    """The scan and the labelled one.

    Raises:
        ScanError: with every problem of them.
    """
    from monai_fss.data import look_at_inputs

    wanted = None if value is None else [value]
    inputs = look_at_inputs([args.support_image], [args.support_label], wanted, args.image)
    if inputs.all_problems:
        raise ScanError(inputs.all_problems)
    if len(inputs.queries) != 1:
        raise UsageError(f"--image {args.image}: holds {len(inputs.listed)} scans. Give one.")
    return next(iter(inputs.queries.values())), inputs.supports[0]


def _place(numbers: list[float], unit: str, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Voxel of the scan, fractions too, and mm.

    Raises:
        UsageError: it lies outside the scan.
    """
    given = np.asarray(numbers)
    voxel = given if unit == "voxel" else _indices(given[None], scan)[0]
    if (voxel < -0.5).any() or (voxel > np.asarray(scan.shape) - 0.5).any():
        box = " x ".join(map(str, scan.shape))
        there = "" if unit == "voxel" else f", which is voxel {_text(voxel)},"
        raise UsageError(
            f"--voxel {_text(given)} ({unit}){there} lies outside {scan.path.name}, which has {box} voxels. Give "
            "numbers from 0 up to these, or others with --unit mm."
        )
    return voxel, scan.affine[:3, :3] @ voxel + scan.affine[:3, 3]


def _indices(points: np.ndarray, scan: Scan | MetaTensor) -> np.ndarray:
    """mm (N, 3) as voxels of a scan, fractions too."""
    affine = np.asarray(scan.affine, np.float64)
    moved: np.ndarray = np.linalg.solve(affine[:3, :3], (points - affine[:3, 3]).T).T
    return moved


def _text(numbers: Any) -> str:
    return ", ".join(f"{number:.1f}".removesuffix(".0") for number in numbers)


def _explained(
    parser: ConfigParser, args: argparse.Namespace, point: np.ndarray, value: int | None
) -> tuple[Explanation, MetaTensor, Mapping[str, MetaTensor]]:
    """What the network says; the scan and the labelled one as prepared."""
    from monai_fss.data import load_model
    from monai_fss.engines.workflows import parser_values
    from monai_fss.inferers import explain_voxel

    given = {"support_image": [args.support_image], "support_label": [args.support_label]}
    labels = {} if value is None else {"labels": [value]}
    parser.update(parser_values({**given, **labels, **device_setting(args.device)}))
    network = load_model(args.model, parser.get_parsed_content("network_def")).eval()
    network = network.to(parser.get_parsed_content("device"))
    prepare = parser.get_parsed_content("preprocessing")
    image = prepare({"image": args.image})["image"]
    anchor = prepare.labelled()({"image": args.support_image, "label": args.support_label})
    found = explain_voxel(parser.get_parsed_content("inferer"), image, point.tolist(), network, value)
    return found, image, anchor


def _rows(found: Explanation, support: Scan, anchor: Mapping[str, MetaTensor]) -> Iterator[list[str]]:
    """One for each related voxel, in the order of :data:`COLUMNS`."""
    for level in found.levels:
        mm = " x ".join(f"{step:.3g}" for step in level.spacing)
        voxels, labels = _indices(level.places, support), _labels(level.places, anchor["label"])
        for rank, (weight, place, own, label) in enumerate(
            zip(level.weights, level.places, voxels, labels, strict=True), 1
        ):
            where = [f"{number:.1f}" for number in (*place, *own)]
            yield [str(level.level), mm, str(rank), f"{weight:.6f}", *where, str(label)]


def _labels(points: np.ndarray, label: MetaTensor) -> list[int]:
    """Of the nearest voxel of a label map (1, H, W, D); 0 outside."""
    index = np.floor(_indices(points, label) + 0.5).astype(int)
    inside = ((index >= 0) & (index < np.asarray(label.shape[1:]))).all(1)
    found = np.zeros(len(points), int)
    found[inside] = np.asarray(label[0])[tuple(index[inside].T)]
    return [int(value) for value in found]


def _summary(found: Explanation, voxel: np.ndarray, point: np.ndarray, rows: list[list[str]]) -> str:
    lines = [
        f"voxel {_text(voxel)} of the scan, at {_text(point)} mm: label {found.value}, probability "
        f"{found.probability:.3f}; the registered label alone says {found.shown:.2f}\n"
    ]
    for level in found.levels:
        own = [row for row in rows if row[0] == str(level.level)]
        organ = sum(float(row[3]) for row in own if row[-1] == str(found.value))
        edge, mm = " x ".join([str(level.size)] * 3), " x ".join(f"{step:.3g}" for step in level.spacing)
        lines.append(
            f"level {level.level} ({edge} voxels of {mm} mm): of the weight {100 * organ:.0f} % in label "
            f"{found.value}, {100 * level.beyond:.0f} % beyond the window"
        )
    shown = [row for row in rows if int(row[2]) <= PRINTED]
    return "\n".join(
        [*lines, "", markdown_table(COLUMNS, shown), "", "x, y, z: mm in the labelled scan; i, j, k: its voxel"]
    )


def _figure(
    found: Explanation, image: MetaTensor, point: np.ndarray, anchor: Mapping[str, MetaTensor], title: str
) -> Any:
    from monai_fss.visualize import RelatedPanel, related_panels

    panels = [
        RelatedPanel(
            f"level {level.level}: {level.size} x {level.size} x {level.size} voxels of {level.spacing.max():.3g} mm",
            level.spacing.tolist(),
            _indices(level.middle[None], anchor["image"])[0],
            _indices(level.places, anchor["image"]),
            level.weights,
        )
        for level in found.levels
    ]
    mask = (np.asarray(anchor["label"][0]) == found.value).astype(np.uint8)
    voxel = _indices(point[None], image)[0]
    return related_panels(_shown(image), voxel.tolist(), _shown(anchor["image"], mask), panels, title)


def _shown(image: MetaTensor, mask: np.ndarray | None = None) -> Shown:
    import nibabel as nib

    from monai_fss.visualize import Shown

    axcodes = nib.orientations.aff2axcodes(np.asarray(image.affine))
    return Shown(np.asarray(image[0]), image.pixdim.tolist(), axcodes, mask)
