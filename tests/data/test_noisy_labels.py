# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels under correction: what a checkpoint keeps of them."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_fss.data import NoisyLabels, ScanError

SHAPE = (1, 3, 4, 2)


def labels(folder: Path | None = None) -> NoisyLabels:
    label = torch.zeros(SHAPE, dtype=torch.int32)
    label[0, 0] = 3
    return NoisyLabels({"a": label, "b": label + 300}, folder)


def everywhere(value: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(SHAPE, dtype=torch.bool), torch.full(SHAPE, value)


def test_the_state_is_small_and_a_copy() -> None:
    store = labels()
    state = store.state_dict()
    assert {name: label.dtype for name, label in state.items()} == {"a": torch.uint8, "b": torch.int16}
    store.correct("a", *everywhere(7))
    assert (state["a"][0, 0] == 3).all() and (state["b"][0, 0] == 303).all()
    other = labels()
    other.load_state_dict(store.state_dict())
    assert (other["a"] == 7).all() and other["a"].dtype == torch.int16 and torch.equal(other["b"], store["b"])
    other.correct("b", *everywhere(-1))
    assert other.state_dict()["b"].dtype == torch.int16 and (store["b"] >= 300).all()


def test_the_state_is_tensors_alone() -> None:
    buffer = io.BytesIO()
    torch.save({"labels": labels().state_dict()}, buffer)
    buffer.seek(0)
    store = labels()
    store.correct("a", *everywhere(7))
    store.load_state_dict(torch.load(buffer, weights_only=True)["labels"])
    assert torch.equal(store["a"], labels()["a"])


def test_files_follow_the_state_and_are_never_read(tmp_path: Path) -> None:
    store = labels(tmp_path)
    before = store.state_dict()
    store.correct("a", *everywhere(7))
    after = store.state_dict()
    assert torch.equal(labels(tmp_path)["a"], labels()["a"])

    def written() -> dict[str, set[int]]:
        files = sorted(tmp_path.iterdir())
        return {f.name: set(np.unique(np.asarray(nib.Nifti1Image.from_filename(f).dataobj)).tolist()) for f in files}

    assert written() == {"a.nii.gz": {7}}
    labels(tmp_path).load_state_dict(before)
    assert written() == {"a.nii.gz": {0, 3}}, "of a later epoch"
    (tmp_path / "a.nii.gz").unlink()
    labels(tmp_path).load_state_dict(before)
    assert written() == {}
    labels(tmp_path).load_state_dict(after)
    assert written() == {"a.nii.gz": {7}}


def test_a_state_of_another_training_is_refused() -> None:
    store = labels()
    state = store.state_dict()
    with pytest.raises(ScanError) as error:
        store.load_state_dict({"c": state["b"], "a": torch.ones(1, 3, 4, 5, dtype=torch.uint8)})
    assert error.value.problems == [
        "labels of the checkpoint: are of other cases (b missing, c unknown). Resume with the cases of that training, "
        "or start anew.",
        "labels of the checkpoint: that of a has (3, 4, 5) voxels, but the training's has (3, 4, 2). Resume with the "
        "data and the voxel size of that training, or start anew.",
    ]
    with pytest.raises(ScanError, match=r"other cases \(none missing, c unknown\)"):
        store.load_state_dict({**state, "c": state["a"]})
    assert torch.equal(store["a"], labels()["a"]), "nothing of it was taken up"
