# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment --prnet`: every mask is compared with the labelled one, in one more column of quality.csv."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from installed_bundles import SUPPORTED
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import LoadImage
from segment_scene import CASES, Scene, make_scene, tree

from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.segment.folder import depends_on
from monai_fss.data import check_scans, read_model, save_propagation
from monai_fss.handlers.segment_report import QUALITY_COLUMNS, SegmentReport, read_quality
from monai_fss.inferers import MaskSimilarity
from monai_fss.networks.nets import PRNet

SETTINGS = {
    "coarse": [16.0, 32, 16, 16, 500, 500, 700],
    "fine": [8.0, 16, 16, 32, 150, 150, 150],
    "base": 2,
    "pixdim": 6.0,
    "window": None,
}
FAST = ["preset=fast", "spacing=[6,6,10]", "starts=1"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "registered_once")]


@pytest.fixture
def scene(phantom_set: Path, trained: Path, tmp_path: Path) -> Scene:
    made = make_scene(tmp_path, phantom_set, trained)
    torch.manual_seed(0)
    nets = PRNet((32, 16, 16), 2, spacing=(16, 16, 16)), PRNet((16, 16, 32), 2, (150, 150, 150), spacing=(8, 8, 8))
    save_propagation(tmp_path / "propagation.pt", *nets, {}, SETTINGS)
    return made


def words(scene: Scene, *more: str) -> list[str]:
    """By the atlas, one scan."""
    command = ["segment", "--support-image", str(scene.support), "--support-label", str(scene.label)]
    command += ["--images", str(scene.images / "case_02.nii.gz"), "--output", str(scene.root / "out"), *more]
    return [*command, "--device", "cpu", "--no-overlays", "--no-quality", "--set", *FAST]


def test_every_mask_has_a_similarity(scene: Scene) -> None:
    prnet = str(scene.root / "propagation.pt")
    assert main(words(scene, "--labels", "1,4", "--prnet", prnet)) == 0
    out = scene.root / "out"
    with (out / "quality.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.reader(stream))
    assert table[0] == [*QUALITY_COLUMNS, "similarity"]
    rows = read_quality(out / "quality.csv")
    assert [row["label"] for row in rows] == ["1", "4"] and {row["quality"] for row in rows} == {""}
    assert all(0 < float(row["similarity"]) < 1 for row in rows)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["inputs"]["settings"]["prnet"] == report["settings"]["prnet"] == prnet
    assert len(report["inputs"]["sha256"][prnet]) == 64


def test_the_column_is_that_of_the_masks_that_were_written(scene: Scene) -> None:
    more = ["--labels", "1,4", "--prnet", str(scene.root / "propagation.pt"), "--no-overlays", "--no-quality"]
    assert main(scene.words(*more)) == 0
    rows = read_quality(scene.root / "out" / "quality.csv")
    similarity = MaskSimilarity(scene.root / "propagation.pt", scene.support, scene.label)
    for case in CASES:
        pred = LoadImage(image_only=True, ensure_channel_first=True)(scene.root / "out" / f"{case}.nii.gz")
        image = MetaTensor(torch.zeros(1), meta={"filename_or_obj": str(scene.images / f"{case}.nii.gz")})
        found = similarity({"image": image, "pred": pred})
        own = {int(row["label"]): float(row["similarity"]) for row in rows if row["case"] == case}
        assert own == {value: pytest.approx(found[value], abs=1e-4) for value in (1, 4)}


@pytest.mark.parametrize("bundle", SUPPORTED)
def test_every_bundle_with_a_labelled_scan_compares_its_masks(bundle: str, scene: Scene) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle_path(bundle) / "configs" / "inference.yaml"))
    assert parser.config["prnet"] is None
    assert "prnet" not in parser.config.get("settings", {}), "no model file can name another file to be loaded"
    settings: dict[str, Any] = {"support_image": [str(scene.support)], "support_label": [str(scene.label)]}
    for key, value in (settings | {"labels": [4], "device": "$torch.device('cpu')"}).items():
        parser[key] = value
    assert parser.get_parsed_content("handlers::0::similarity") is None
    parser["prnet"] = str(scene.root / "propagation.pt")
    made = parser.get_parsed_content("handlers::0::similarity")
    assert isinstance(made, MaskSimilarity) and set(made.supports[0].values.tolist()) == {4}


@pytest.mark.parametrize(
    ("name", "bundle", "says"),
    [
        ("none.pt", [], "none.pt: no such file. Give the propagation.pt of a training of the bundle prnet"),
        ("model.pt", [], "model.pt: holds ADNet, not what finds scribbles again. Give the propagation.pt"),
        ("support_labels.nii.gz", [], "support_labels.nii.gz: "),
        ("propagation.pt", ["--bundle", "prnet", "--model", "MODEL"], "prnet takes none. Leave it out; its column"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    name: str, bundle: list[str], says: str, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    before, file = tree(scene.root), str(scene.root / name)
    command = words(scene, "--prnet", file)
    if bundle:
        command = [
            "segment",
            *bundle,
            "--prnet",
            file,
            "--images",
            str(scene.images),
            "--output",
            str(scene.root / "out"),
        ]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert tree(scene.root) == before


def test_the_option_is_not_a_setting(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(scene), "prnet=x.pt"]) == 2
    assert "--set prnet: has an option of its own. Use --prnet." in capsys.readouterr().err


def test_a_model_cannot_bring_the_file(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    content = read_model(scene.model)
    content["settings"]["prnet"] = str(scene.root / "propagation.pt")
    torch.save(content, scene.model)
    assert main(scene.words()) == 2
    assert "model.pt: brings settings that adnet does not know (prnet)" in capsys.readouterr().err


def test_the_workflow_by_itself_refuses_it_too(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        check_scans(str(scene.support), str(scene.label), None, scene.images, str(scene.model))
    assert stop.value.code == 2 and "model.pt: holds ADNet" in capsys.readouterr().err
    check_scans(str(scene.support), str(scene.label), None, scene.images, str(scene.root / "propagation.pt"))


def test_a_run_goes_on_only_with_the_same_networks(scene: Scene) -> None:
    file = scene.root / "propagation.pt"

    def note(**settings: Any) -> dict[str, Any]:
        return depends_on("atlas", None, [str(scene.support)], [str(scene.label)], None, settings, {})

    before = note(prnet=str(file))
    assert before == note(prnet=str(file)) and before != note()
    file.write_bytes(file.read_bytes() + b"x")
    assert before != note(prnet=str(file))


def report(folder: Path, case: str, similarity: Any) -> None:
    """Of one scan, with two organs of which the second was not found."""
    mask = torch.zeros(1, 4, 4, 4)
    mask[0, :2] = 1
    image = MetaTensor(mask, meta={"filename_or_obj": f"{case}.nii.gz"})
    output = {"image": image, "pred": MetaTensor(mask, affine=torch.eye(4))}
    handler = SegmentReport(folder, [1, 2], overlays=False, similarity=similarity)
    engine: Any = SimpleNamespace(state=SimpleNamespace(output=[output]))
    handler(engine)


def test_a_table_with_and_without_the_column(tmp_path: Path) -> None:
    table = tmp_path / "quality.csv"
    report(tmp_path, "a", None)
    plain = "case,label,name,volume_ml,quality,note\na,1,label_1,0.03,,\na,2,label_2,0.00,,nothing found\n"
    assert table.read_text(encoding="utf-8") == plain
    assert [row["similarity"] for row in read_quality(table)] == ["", ""]
    seen: list[Any] = []

    def similarity(output: Any) -> dict[int, float]:
        seen.append(np.asarray(output["pred"]).sum())
        return {1: 0.71239, 2: 0.0}

    report(tmp_path, "b", similarity)
    assert seen == [32]
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "case,label,name,volume_ml,quality,note,similarity" and lines[1] == "a,1,label_1,0.03,,,"
    assert lines[3:] == ["b,1,label_1,0.03,,,0.7124", "b,2,label_2,0.00,,nothing found,0.0000"]
    report(tmp_path, "c", None)
    assert [row["similarity"] for row in read_quality(table)] == ["", "", "0.7124", "0.0000", "", ""], "nothing is lost"
    report(tmp_path, "b", None)
    assert [row["similarity"] for row in read_quality(table)] == [""] * 6, "of a scan done again too"
