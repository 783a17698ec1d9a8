# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Self-training: its stages, and what is found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from installed_bundles import config_of
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor

from monai_fss.apps.cli import main
from monai_fss.apps.segment.pipeline import segment
from monai_fss.data import read_model
from monai_fss.engines import teaching
from monai_fss.inferers import Atlas
from monai_fss.inferers.students import student
from monai_fss.inferers.two_stage.priors import unpacked_atlases
from monai_fss.registration import DisplacementField

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "self_training" / "configs"


def test_a_stage_by_itself_does_what_the_training_has_it_do() -> None:
    own, stage, used = (config_of("self_training", name) for name in ("train", "teach", "inference"))
    shared = set(own["teaching" if isinstance(own["teaching"], dict) else "shown"]) - {
        "dataset_dir",
        "values",
        "labels",
    }
    assert {"second", "preset", "prior_weight", "pixdim", "channels", "roi_size"} <= shared
    for key in shared:
        assert stage[key] == own[key], key
    for key in set(used["settings"]) - {"window", "values", "class_names", "pieces"}:
        assert used[key] == own[key], key
    assert set(used["settings"]) == set(own["settings"])


@pytest.fixture
def training(
    phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Trains with further settings, all scans lying on one another; returns the folder."""

    def field(self: Atlas, fixed: MetaTensor, moving: MetaTensor, settings: Any = None) -> DisplacementField:
        return DisplacementField.from_affine(np.eye(4), self.grid(fixed))

    monkeypatch.setattr(Atlas, "field", field)

    def train(**more: Any) -> Path:
        workflow = ConfigWorkflow(
            config_file=str(CONFIGS / "train.yaml"),
            logging_file=False,
            workflow_type="train",
            bundle_root=str(CONFIGS.parent),
            dataset_dir=str(phantom_set),
            output_dir=str(tmp_path),
            device="$torch.device('cpu')",
            **{**small("self_training"), "cases": ["case_01", "case_02", "case_03"], "val_queries": 0, **more},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        return tmp_path

    return train


def kept(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in (folder / "cache").glob("*-*/*")}


def test_a_second_round_is_taught_by_the_student_of_the_first(
    training: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = training(prior_weight=50.0)  # its student has not learnt much, and is believed all the same
    monkeypatch.setattr(teaching, "trusted", lambda odds, scan, values, small_ml: torch.ones(len(values), 1, 1, 1))
    before = kept(folder)
    assert sorted(name.partition("-")[0] + name[-11:] for name in before if name.endswith(".pt")) == [
        f"cache/teach/case_0{number}.pt" for number in (1, 2, 3)
    ]
    training(rounds=2, prior_weight=50.0)
    after = kept(folder)
    assert {name: after[name] for name in before} == before, "what was there is found again"
    stages = {name.split("/")[1] for name in after}
    assert sorted(name.split("-")[0] for name in stages) == ["student", "teach", "teach"]
    student = next(folder.glob("cache/student-*/model.pt"))
    assert any(
        not torch.equal(a, b) for a, b in zip(*(weights(file) for file in (student, folder / "model.pt")), strict=True)
    )


def weights(file: Path) -> list[torch.Tensor]:
    return [value for key, value in read_model(file)["model"].items() if key.startswith("body.")]


def test_the_model_keeps_the_labelled_scan(training: Callable[..., Path], phantom_set: Path) -> None:
    model = read_model(training(pseudo=False) / "model.pt")
    scans = unpacked_atlases({key.removeprefix("known_"): value for key, value in model["model"].items()})
    assert len(scans) == 1 and {0, 1, 4} <= set(scans[0]["label"].unique().tolist())
    assert model["settings"]["pieces"] == [1, 1]


def test_scans_that_it_has_learnt_from_are_known_again_in_use(
    training: Callable[..., Path], phantom_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = training(support="case_02") / "model.pt"
    told: list[bool] = []
    has_learnt = student._Known.has_learnt

    def spy(self: Any, fixed: np.ndarray) -> bool:
        told.append(has_learnt(self, fixed))
        return told[-1]

    monkeypatch.setattr(student._Known, "has_learnt", spy)
    for case, expected in (("case_01", True), ("case_04", False), ("case_03", True), ("case_02", False)):
        told.clear()
        scan = phantom_set / "images" / f"{case}.nii.gz"
        segment("self_training", model, [], [], scan, tmp_path / case, settings={"overlays": False, "quality": False})
        assert set(told) == {expected}, case


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["support=case_09"], "case_09"),
        (["support=case_01", "labels=[9]"], "9"),
        (["support=case_01", "rounds=0"], "rounds"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    settings: list[str], text: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--bundle", "self_training", "--data", str(phantom_set), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main([*words, "--set", *settings]))
    assert stop.value.code == 2 and text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
