# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment` from end to end: masks, scores, pictures, interruption."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from protocol_scans import by_ep2
from scipy import ndimage
from segment_scene import CASES, Scene, read, rows

from monai_fss.apps.cli import main
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.data import load_model, phantom, read_model
from monai_fss.handlers.segment_report import QUALITY_COLUMNS

VALUES = [1, 2, 3, 4, 5]
pytestmark = pytest.mark.usefixtures("one_thread")


def competed(probability: np.ndarray, values: list[int]) -> np.ndarray:
    """The most probable class of each voxel, of each class its largest piece, by the definition."""
    best = np.where(probability.max(-1) > 0.5, np.asarray(values)[probability.argmax(-1)], 0)
    for value in values:
        pieces, count = ndimage.label(best == value, np.ones((3, 3, 3)))
        sizes = [(pieces == piece).sum() for piece in range(1, count + 1)]
        best[(pieces > 0) & (pieces != 1 + int(np.argmax(sizes or [0])))] = 0
    return best


def test_exactly_these_files_are_written(done: Scene) -> None:
    expected = {f"{case}.nii.gz" for case in CASES} | {f"overlays/{case}.png" for case in CASES}
    expected |= {f"probabilities/{case}.nii.gz" for case in CASES} | {"quality.csv", "report.json"}
    expected |= {"labels.label", "labels.ctbl"}
    out = done.root / "out"
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == expected


@pytest.mark.parametrize("case", CASES)
def test_masks_have_the_grid_of_the_query_and_values_of_the_support(done: Scene, case: str) -> None:
    mask, image = (
        nib.Nifti1Image.from_filename(done.root / "out" / f"{case}.nii.gz"),
        nib.Nifti1Image.from_filename(done.images / f"{case}.nii.gz"),
    )
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    assert np.issubdtype(mask.get_data_dtype(), np.integer)
    values = np.unique(np.asarray(mask.dataobj))
    assert set(values.tolist()) <= {0, *VALUES} and len(values) > 1


@pytest.mark.parametrize("case", CASES)
def test_probability_maps_explain_the_mask(done: Scene, case: str) -> None:
    probability = read(done.root / "out" / "probabilities" / f"{case}.nii.gz")
    mask = read(done.root / "out" / f"{case}.nii.gz")
    assert probability.shape == (*mask.shape, len(VALUES))
    assert probability.min() >= 0 and probability.max() <= 1
    np.testing.assert_array_equal(competed(probability, VALUES), mask)


@pytest.mark.parametrize("case", CASES)
def test_masks_are_those_of_the_trained_network(done: Scene, case: str) -> None:
    """Without the bundle's evaluator. The working grid is the scan's own here, but for left and right."""
    parser = inference_parser(Method("adnet"), read_model(done.model)["settings"], {})
    network = load_model(done.model, parser.get_parsed_content("network_def"))
    before = parser.get_parsed_content("preprocessing")
    support = before.labelled()({"image": str(done.support), "label": str(done.label)})
    query = before({"image": str(done.images / f"{case}.nii.gz")})
    probability = by_ep2(network, [support], query, VALUES).numpy()[:, ::-1]
    written = read(done.root / "out" / "probabilities" / f"{case}.nii.gz")
    np.testing.assert_allclose(written, np.moveaxis(probability, 0, -1), atol=1e-4)


def test_quality_lists_every_case_and_class(done: Scene) -> None:
    table = rows(done.root / "out")
    assert tuple(table[0]) == QUALITY_COLUMNS
    assert [(row["case"], int(row["label"])) for row in table] == [(case, v) for case in CASES for v in VALUES]
    for row in table:
        mask = read(done.root / "out" / f"{row['case']}.nii.gz")
        assert float(row["volume_ml"]) == pytest.approx(
            (mask == int(row["label"])).sum() * 5 * 5 * 16 / 1000, abs=0.006
        )
        assert 0 <= float(row["quality"]) <= 1
        assert row["name"] == f"label_{row['label']}"


def test_report_says_how_the_masks_were_made(done: Scene) -> None:
    report = json.loads((done.root / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["inputs"]["cases"] == CASES == report["segmented_now"]
    assert report["inputs"]["support_image"] == [str(done.support)]
    assert {len(digest) for digest in report["inputs"]["sha256"].values()} == {64}
    assert len(report["inputs"]["sha256"]) == 3  # the model, the support image and its label
    assert report["device"] == "cpu" and report["seconds"] > 0
    assert {"monai", "torch", "monai_fss"} <= {name.replace("-", "_") for name in report["versions"]}
    assert report["settings"]["pixdim"] == 5, "the model brings the settings it was trained with"


def test_overlays_are_pictures(done: Scene) -> None:
    for case in CASES:
        assert (done.root / "out" / "overlays" / f"{case}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_labels_choose_the_classes_and_switches_leave_out_the_rest(done: Scene, scene: Scene) -> None:
    assert main(scene.words("--labels", "4,1", "--no-quality", "--no-overlays")) == 0
    out = scene.root / "out"
    tables = {"quality.csv", "report.json", "labels.label", "labels.ctbl"}
    assert {p.name for p in out.iterdir()} == {"case_02.nii.gz", "case_03.nii.gz"} | tables
    assert {(row["label"], row["quality"]) for row in rows(out)} == {("4", ""), ("1", "")}
    for case in CASES:
        mask, probability = read(out / f"{case}.nii.gz"), read(done.root / "out" / "probabilities" / f"{case}.nii.gz")
        assert set(np.unique(mask)) <= {0, 1, 4}
        np.testing.assert_array_equal(competed(probability[..., [3, 0]], [4, 1]), mask)


def test_one_scan_and_several_supports(scene: Scene, phantom_set: Path) -> None:
    words = scene.words("--no-overlays", "--support-slices", "2")
    words[words.index("--images") + 1] = str(scene.images / "case_02.nii.gz")
    for option, part in (("--support-image", "images"), ("--support-label", "labels")):
        words.insert(words.index(option) + 2, str(phantom_set / part / "case_04.nii.gz"))
    assert main(words) == 0
    assert {row["case"] for row in rows(scene.root / "out")} == {"case_02"}
    support = json.loads((scene.root / "out" / "report.json").read_text(encoding="utf-8"))["inputs"]["support_image"]
    assert [Path(image).name for image in support] == ["support_images.nii.gz", "case_04.nii.gz"]


def test_a_query_in_another_orientation_gets_the_same_mask_in_the_world(done: Scene, scene: Scene) -> None:
    image = nib.Nifti1Image.from_filename(scene.images / "case_02.nii.gz")
    turned = nib.orientations.axcodes2ornt("SPR"), nib.orientations.io_orientation(image.affine)
    there = nib.orientations.ornt_transform(turned[1], turned[0])
    nib.save(image.as_reoriented(there), scene.images / "turned.nii.gz")
    for case in CASES:
        (scene.images / f"{case}.nii.gz").unlink()
    assert main(scene.words("--no-overlays")) == 0
    mask = nib.Nifti1Image.from_filename(scene.root / "out" / "turned.nii.gz")
    assert mask.shape == tuple(np.asarray(image.shape)[[2, 1, 0]])
    back = mask.as_reoriented(nib.orientations.ornt_transform(turned[0], turned[1]))
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(back.dataobj), read(done.root / "out" / "case_02.nii.gz"))


def test_queries_of_other_dtype_scale_size_and_angle(scene: Scene) -> None:
    for file in scene.images.iterdir():
        file.unlink()
    for name, dtype, options in (
        ("oblique", np.float64, {"oblique": 8.0, "shape": (64, 60, 10), "spacing": (5.0, 5.3, 16.0)}),
        ("fine", np.uint16, {"shape": (90, 90, 8), "spacing": (3.5, 3.5, 20.0)}),
        ("small", np.int16, {"shape": (22, 31, 8), "spacing": (5.0, 5.0, 16.0)}),
        ("bytes", np.uint8, {"shape": (64, 64, 12), "spacing": (5.0, 5.0, 16.0)}),
    ):
        scan = phantom(7, **options)
        voxels = scan.image / scan.image.max() * 255 if dtype == np.uint8 else scan.image.clip(0)
        nib.save(nib.Nifti1Image(voxels.astype(dtype), scan.affine), scene.images / f"{name}.nii.gz")
    assert main(scene.words()) == 0
    for file in scene.images.iterdir():
        image, mask = nib.Nifti1Image.from_filename(file), nib.Nifti1Image.from_filename(scene.root / "out" / file.name)
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
        assert np.asarray(mask.dataobj).any()


def write_dicom(volume: np.ndarray, spacing: tuple[float, float, float], folder: Path) -> None:
    """One series; the arrays' axes run to the patient's left, to posterior and to the head, DICOM's own."""
    import itk

    folder.mkdir()
    for z in range(volume.shape[2]):
        image = itk.image_from_array(np.ascontiguousarray(volume.T[z : z + 1]))
        image.SetSpacing(spacing)
        image.SetOrigin([0.0, 0.0, spacing[2] * z])
        tags = image.GetMetaDataDictionary()
        tags["0020|000e"], tags["0020|000d"], tags["0008|0060"] = "1.2.3.4", "1.2.3", "MR"
        tags["0020|0013"], tags["0020|0032"] = str(z + 1), f"0\\0\\{spacing[2] * z}"
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        itk.imwrite(image, str(folder / f"{z:03d}.dcm"), imageio=io)


def test_dicom_series_named_by_their_uids_get_a_mask_each(done: Scene, scene: Scene) -> None:
    itk = pytest.importorskip("itk")
    for case, name in zip(CASES, ("1.2.840.1", "1.2.840.2"), strict=True):
        volume = read(scene.images / f"{case}.nii.gz")[:, ::-1]
        write_dicom(volume, (5.0, 5.0, 16.0), scene.images / name)
        (scene.images / f"{case}.nii.gz").unlink()
    image = itk.image_from_array(np.ascontiguousarray(volume.T))
    image.SetSpacing((5.0, 5.0, 16.0))
    itk.imwrite(image, str(scene.images / "C.v2.mha"))
    assert main(scene.words("--no-quality")) == 0
    out = scene.root / "out"
    assert {p.name for p in out.glob("*.nii.gz")} == {"1.2.840.1.nii.gz", "1.2.840.2.nii.gz", "C.v2.nii.gz"}
    assert [row["case"] for row in rows(out)[:: len(VALUES)]] == ["1.2.840.1", "1.2.840.2", "C.v2"]
    for case, name in zip(CASES, ("1.2.840.1", "1.2.840.2"), strict=True):
        mask, expected = read(out / f"{name}.nii.gz")[:, ::-1], read(done.root / "out" / f"{case}.nii.gz")
        assert (mask == expected).mean() > 0.999, "rounding of positions alone"


def test_names_come_from_the_data_set_of_the_support(scene: Scene, phantom_set: Path) -> None:
    words = scene.words("--no-overlays", "--no-quality", "--labels", "4,1")
    words[words.index("--support-label") + 1] = str(phantom_set / "labels" / "case_01.nii.gz")
    assert main(words) == 0
    assert {(row["label"], row["name"]) for row in rows(scene.root / "out")} == {("4", "spleen"), ("1", "liver")}
