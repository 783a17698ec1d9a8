# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The evaluator that goes on with the next scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines.utils import IterationEvents

from monai_fss.data import ScanError
from monai_fss.engines import FailedScans, ScanEvaluator
from monai_fss.engines.scan_by_scan import reason_of

ITEMS = [{"image": f"folder/{name}.nii.gz"} for name in ("a", "b", "c", "d", "e")]


def read(item: Mapping[str, Any]) -> dict[str, Any]:
    if item["image"] == "folder/b.nii.gz":
        raise ScanError("folder/b.nii.gz: is gone. Copy it again.")
    return {"image": torch.full((1, 2, 2), float(ord(item["image"][7])))}


def infer(inputs: torch.Tensor, _: Any) -> torch.Tensor:
    if inputs[0, 0, 0, 0] == ord("c"):
        raise RuntimeError("kernel size\nwith more lines")
    return inputs + 1


def judge(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item["pred"][0, 0, 0] == ord("d") + 1:
        raise ValueError("after")
    return item


def evaluator(workers: int = 0) -> tuple[ScanEvaluator, list[float]]:
    """One whose scans b, c and d fail in reading, in the network and after it; it gathers what comes out."""
    loader = DataLoader(Dataset(ITEMS, read), batch_size=1, num_workers=workers)
    made = ScanEvaluator("cpu", loader, torch.nn.Identity(), inferer=infer, postprocessing=judge)
    done: list[float] = []
    made.add_event_handler(
        IterationEvents.MODEL_COMPLETED, lambda engine: done.extend(float(o["pred"].max()) for o in engine.state.output)
    )
    return made, done


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_others_are_done_and_the_failed_ones_named(workers: int) -> None:
    made, done = evaluator(workers)
    for _ in range(2):  # a second run begins anew
        done.clear()
        with pytest.raises(FailedScans) as caught:
            made.run()
        assert done == [ord("a") + 1, ord("e") + 1]
        assert list(caught.value.errors) == ["b", "c", "d"] == list(made.failed)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("b: ") and "folder/b.nii.gz: is gone. Copy it again." in lines[0]
    assert lines[1:] == ["c: RuntimeError: kernel size", "d: ValueError: after"]
    assert caught.value.errors["c"].__traceback__ is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device")])
def test_what_is_no_fault_of_a_scan_ends_the_run(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    made, done = evaluator()

    def stop(*_: Any) -> None:
        raise error

    monkeypatch.setattr(made, "inferer", stop)
    with pytest.raises(type(error)):
        made.run()
    assert done == []


def test_a_reason_is_the_root_in_one_line() -> None:
    wrapped = RuntimeError("applying transform <...>")
    wrapped.__cause__ = ScanError(["a: is bad. Mend it.", "a: twice. Mend it."])
    assert reason_of(wrapped) == "a: is bad. Mend it."
    assert reason_of(RuntimeError()) == "RuntimeError: no further message"
