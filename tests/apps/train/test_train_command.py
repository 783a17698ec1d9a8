# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss train` from end to end on tiny scans."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bad_files import good_image
from monai.utils import set_determinism

from monai_fss.apps.cli import main
from monai_fss.apps.train.run_folder import RUN_JSON
from monai_fss.data import read_model
from monai_fss.data.phantom.dataset import write_phantom_dataset
from monai_fss.handlers import TrainingProgress

SETTINGS = ["steps=4", "steps_per_epoch=2", "batch_size=2", "size=[32, 32]", "pixdim=5", "tensorboard=false"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "data"
    return write_phantom_dataset(folder, n_cases=2, n_folds=1, shape=(64, 64, 8), spacing=(5, 5, 24))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The networks are tiny: more threads would only wait for each other, and weights are compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    set_determinism(None)


def train(data: Path, output: Path, *more: str) -> int:
    words = ["train", "--bundle", "adnet", "--data", str(data), "--output", str(output), "--device", "cpu"]
    return main([*words, "--set", *SETTINGS, *more])


def weights(output: Path) -> dict[str, torch.Tensor]:
    return read_model(output / "model.pt")["model"]


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the training's progress bar press Ctrl-C when it has shown ``steps`` steps."""
    show = TrainingProgress.__call__

    def press(self: TrainingProgress, engine: Any) -> None:
        show(self, engine)
        if engine.state.iteration > steps:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingProgress, "__call__", press)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("whole") / "run"
    assert train(data, output) == 0
    return output


def test_it_writes_a_model_and_what_it_was_started_with(trained: Path, data: Path) -> None:
    model = read_model(trained / "model.pt")
    assert model["settings"]["pixdim"] == 5
    assert model["settings"]["window"] is None
    note = json.loads((trained / RUN_JSON).read_text(encoding="utf-8"))
    assert note["bundle"] == "adnet" and note["data"] == str(data) and note["cases"] is None
    assert note["settings"]["size"] == [32, 32]
    assert note["finished"] is True and note["steps"] == 4
    assert sorted(p.name for p in (trained / "checkpoints").glob("*.pt")) == ["checkpoint_2.pt", "checkpoint_4.pt"]


def test_an_interrupted_training_resumes_to_the_same_weights(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        assert train(data, output) == 1
    err = capsys.readouterr().err
    assert err.endswith("\ninterrupted; run the same command again to go on (train: with --resume)\n")
    assert "Traceback" not in err and "Engine run" not in err
    assert not (output / "model.pt").exists()
    assert train(data, output) == 2
    assert "Give --resume to go on with it" in capsys.readouterr().err
    assert train(data, output, "seed=1", "--resume") == 2
    assert "other settings: seed was the default, now 1." in capsys.readouterr().err
    assert train(data, output, "--resume") == 0
    out = capsys.readouterr().out
    assert "trained 4 steps, " in out
    assert f"next: monai-fss segment --model {output / 'model.pt'} " in out
    assert equal(weights(output), weights(trained))
    assert train(data, output, "--resume") == 2
    assert "the training is finished (4 steps)" in capsys.readouterr().err


def test_a_training_resumes_to_the_same_weights_from_a_moved_data_set_and_not_from_another(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, moved = tmp_path / "run", tmp_path / "elsewhere" / "moved"
    shutil.copytree(data, moved)
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        assert train(data, output) == 1
    image = next((moved / "images").iterdir())
    before = image.read_bytes()
    scan: Any = nib.Nifti1Image.from_bytes(gzip.decompress(before))
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj)[::-1], scan.affine), image)
    capsys.readouterr()
    assert train(moved, output, "--resume") == 2
    assert f"was trained on other scans: images/{image.name} (changed). Give" in capsys.readouterr().err
    image.write_bytes(before)
    assert train(moved, output, "num_workers=1", "--resume") == 0
    assert equal(weights(output), weights(trained))


def test_a_training_killed_before_its_model_was_written_is_not_trained_twice(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    shutil.copytree(trained, output)
    (output / "model.pt").unlink()
    note = json.loads((output / RUN_JSON).read_text(encoding="utf-8"))
    (output / RUN_JSON).write_text(json.dumps({**note, "finished": False}))
    interrupt_after(0, monkeypatch)  # any step is one too many
    assert train(data, output, "--resume") == 0
    assert equal(weights(output), weights(trained))


def test_overwrite_starts_anew_with_other_cases_and_settings(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    (output / "checkpoints").mkdir(parents=True)
    for name in ("model.pt", "model_best.pt", "checkpoints/checkpoint_900.pt"):
        (output / name).write_bytes(b"old")
    more = ("elastic::rotate=0", "seed=3", "--cases", "case_02", "--overwrite")
    assert train(data, output, *more) == 0
    note = json.loads((output / RUN_JSON).read_text(encoding="utf-8"))
    assert note["cases"] == ["case_02"]
    assert note["settings"]["elastic::rotate"] == 0
    assert not (output / "checkpoints" / "checkpoint_900.pt").exists()
    assert not (output / "model_best.pt").exists()
    assert read_model(output / "model.pt")["settings"]["pixdim"] == 5
    assert len(list((output / "cache").glob("*.pt"))) == 1


def test_ct_is_clipped_to_soft_tissue_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []

    def workflow(files: Any, overrides: dict[str, Any]) -> int:
        seen.append(dict(overrides))
        return 4

    monkeypatch.setattr("monai_fss.apps.train.workflow._run_workflow", workflow)
    ct = write_phantom_dataset(
        tmp_path / "ct", n_cases=2, n_folds=1, modality="CT", shape=(16, 16, 6), spacing=(20, 20, 20)
    )
    assert train(ct, tmp_path / "a") == 0
    assert "CT: intensities are clipped to -125 to 275 HU" in capsys.readouterr().out
    assert train(ct, tmp_path / "b", "window=[-1000, 1000]") == 0
    assert "CT: " not in capsys.readouterr().out
    assert train(ct, tmp_path / "c", "window=null") == 0
    assert [overrides["window"] for overrides in seen] == [[-125, 275], [-1000, 1000], None]
    assert seen[0]["device"] == "cpu"
    assert json.loads((tmp_path / "a" / RUN_JSON).read_text(encoding="utf-8"))["settings"]["window"] == [-125, 275]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(data), "--output", str(tmp_path / "run"), "--device", "cuda"]) == 2
    assert "--device cuda: PyTorch sees no CUDA device here." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("codes", "depths", "more", "warned"),
    [
        ("RAS", (4, 9), [], True),
        ("SPR", (4, 9), [], True),
        ("SPR", (4, 8), [], False),
        ("RAS", (4, 9), ["--set", "position_axes=[0, 1]", "position_weights=[0.6, 0.5]"], False),
    ],
)
def test_scans_of_very_different_reach_are_doubted(
    codes: str,
    depths: tuple[int, int],
    more: list[str],
    warned: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("monai_fss.apps.train.workflow._run_workflow", lambda files, overrides: 0)
    order = nib.orientations.axcodes2ornt(codes)
    for depth in depths:
        image = nib.Nifti1Image(good_image(depth, (20, 9, depth)), np.diag([1.0, 1.0, 8.0, 1.0]))
        (tmp_path / "data" / "images").mkdir(parents=True, exist_ok=True)
        nib.save(
            image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), order)),
            (tmp_path / "data" / "images" / f"{depth}.nii.gz"),
        )
    assert main(["train", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "run"), *more]) == 0
    assert (f"scans reach from 32 to {8 * depths[1]} mm across slices" in capsys.readouterr().err) == warned
