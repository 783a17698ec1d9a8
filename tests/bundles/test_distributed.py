# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Two processes (gloo, CPU) train the same network as one process with the same global batch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_fss.apps.methods.bundles import bundle_names
from monai_fss.apps.methods.method import Method
from monai_fss.data import read_model

BUNDLES = [name for name in bundle_names() if Method(name).is_trained]


def settings_of(bundle: str, phantom_set: Path, small: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    # Two epochs of one step: episodes are divided anew in each. After more steps a pixel on the edge of a predicted
    # mask may belong to it in one sum and not in the other.
    return small(bundle) | {"steps": 2, "steps_per_epoch": 1, "dataset_dir": str(phantom_set)}


def in_two_processes(
    settings: dict[str, Any], configs: Path, output: Path, repository: Path, environment: dict[str, str]
) -> None:
    files = f"['{configs / 'train.yaml'}','{configs / 'multi_gpu_train.yaml'}']"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "training", "--config_file", files, "--output_dir", str(output)]
    command += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]


def in_one_process(settings: dict[str, Any], configs: Path, output: Path) -> None:
    workflow = ConfigWorkflow(
        config_file=str(configs / "train.yaml"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(configs.parent),
        output_dir=str(output),
        device="$torch.device('cpu')",
        **settings,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("bundle", BUNDLES)
def test_two_processes_equal_one_with_the_same_global_batch(
    bundle: str,
    phantom_set: Path,
    small: Callable[[str], dict[str, Any]],
    repository: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    settings, configs = settings_of(bundle, phantom_set, small), repository / "bundles" / bundle / "configs"
    in_two_processes(settings, configs, tmp_path / "two", repository, environment)
    in_one_process(settings | {"batch_size": 2}, configs, tmp_path / "one")
    two, one = (read_model(tmp_path / name / "model.pt")["model"] for name in ("two", "one"))
    assert two.keys() == one.keys(), "the wrapper's prefix 'module.' must not get into the file"
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-5, atol=1e-5)
    names = sorted(file.name for file in (tmp_path / "two" / "checkpoints").glob("*.pt"))
    assert names == ["checkpoint_1.pt", "checkpoint_2.pt"]
    assert len(list((tmp_path / "two" / "checkpoints" / "best").glob("*.pt"))) == 1
    assert not [p for p in (tmp_path / "two").rglob("*") if p.name.startswith(".unfinished-")]
