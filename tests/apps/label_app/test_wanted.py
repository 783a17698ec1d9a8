# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a request asks for: read, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.models import Segmenter, find_segmenters, trainable
from monai_fss.apps.label_app.refusal import status_and_sentence
from monai_fss.apps.label_app.wanted import device_of, organ_values, wanted, words_of
from monai_fss.apps.methods.method import Method
from monai_fss.data import ScanError

ATLAS = Segmenter("atlas", Method("atlas"))
ADNET = Segmenter("adnet", Method("adnet"), Path("model.pt"))
UNET = Segmenter("unet", Method("unet_3d"), Path("model.pt"))


def test_a_viewer_sends_its_table_of_options() -> None:
    """Of a list of choices viewers send the first."""
    options = {key: value[0] if isinstance(value, list) else value for key, value in ATLAS.options().items()}
    wish = wanted({"model": "atlas", "image": "a", "client_id": "me", **options}, ATLAS)
    assert (wish.organs, wish.support, wish.most_alike, wish.extension) == ((), (), 0, ".nii.gz")
    assert wish.settings == {"preset": "accurate", "quality": True, "device": options["device"]}
    few = {key: value[0] if isinstance(value, list) else value for key, value in ADNET.options().items()}
    assert wanted(few, ADNET).settings["support_slices"] == "middle" and "prior" not in wanted(few, ADNET).settings
    assert wanted({"prior": "atlas", "support_slices": "3"}, ADNET).settings["prior"] == "atlas"
    assert "support" not in UNET.options() and "support" not in wanted({}, UNET).settings


def test_lists_and_texts_say_the_same() -> None:
    listed = wanted({"organs": ["liver"], "support": ["a", "b"], "set": ["spacing=[6,6,9]", "starts=1"]}, ATLAS)
    text = wanted({"organs": "liver", "support": "a, b", "set": "spacing=[6,6,9], starts=1"}, ATLAS)
    assert listed == text and listed.settings["spacing"] == [6, 6, 9] and listed.support == ("a", "b")
    assert words_of(None) == [] and words_of([1, "b "]) == ["1", "b"] and words_of(3) == ["3"]


@pytest.mark.parametrize(
    ("request_", "extension", "in_order"),
    [
        ({}, ".nii.gz", False),
        ({"result_extension": ".nrrd"}, ".nrrd", True),
        ({"result_extension": ".nrrd", "restore_label_idx": False}, ".nrrd", False),
        ({"restore_label_idx": "true"}, ".nii.gz", True),
    ],
)
def test_values_are_counted_for_slicer_alone(request_: dict[str, Any], extension: str, in_order: bool) -> None:
    wish = wanted(request_, ATLAS)
    assert (wish.extension, wish.in_order) == (extension, in_order)


@pytest.mark.parametrize(
    ("segmenter", "request_", "told"),
    [
        (ATLAS, {"most_alike": "two"}, "most_alike 'two': is not a number of studies"),
        (ATLAS, {"result_extension": ".png"}, "result_extension '.png': is not known"),
        (ATLAS, {"result_dtype": "float32"}, "result_dtype 'float32': is not known. Choose from uint8, uint16"),
        (ATLAS, {"device": "gpu"}, "device 'gpu': is not known"),
        (ATLAS, {"preset": "slow"}, "preset"),
        (ATLAS, {"set": "quality=false"}, "set quality: has an option of its own. Use quality."),
        (ATLAS, {"set": "spacin=3"}, "Did you mean spacing?"),
        (ADNET, {"prior": "other"}, "prior 'other': is not known"),
        (UNET, {"support": "a"}, "unet has learnt what to segment and takes no labelled study"),
    ],
)
def test_what_cannot_be_is_refused(segmenter: Segmenter, request_: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        wanted(request_, segmenter)
    assert told in str(error.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(UsageError) as error:
        wanted({"most_alike": -1, "device": "gpu", "set": "spacin=3"}, ATLAS)
    assert len(error.value.problems) == 3


def test_organs_by_name_or_value() -> None:
    organs = {"liver": 1, "spleen": 4}
    assert organ_values([], organs) is None and organ_values(["4", "liver", "spleen"], organs) == [4, 1]
    with pytest.raises(UsageError, match="organs heart: not known here. Known organs: liver, spleen"):
        organ_values(["liver", "heart"], organs)
    with pytest.raises(UsageError, match="none, as no study has a label"):
        organ_values(["liver"], {})


def test_devices_are_texts() -> None:
    assert device_of("") == device_of(None) == {} and device_of("CPU") == {"device": "cpu"}
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="PyTorch sees no CUDA device"):
            device_of("cuda:0")


def test_models_of_the_folder(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "mine").mkdir()
    for file in ("mine/model.pt", "atlas.pt", "other.pt"):
        (tmp_path / file).write_bytes((trained / "model.pt").read_bytes())
    (tmp_path / "bad.pt").write_bytes(b"no model")
    found, problems = find_segmenters(tmp_path)
    assert list(found) == ["atlas", "mine", "other"] and found["mine"].method.bundle == "adnet"
    assert (
        found["mine"].learnt == {}
        and found["atlas"].model is None
        and "one labelled example" in found["mine"].description
    )
    assert problems.keys() == {"atlas", "bad"} and "name of the method that needs no model" in problems["atlas"]
    assert trainable()[0].bundle == "adnet" and all(method.is_trained for method in trainable())
    assert [method.bundle for method in trainable("prnet, adnet")] == ["prnet", "adnet"]
    with pytest.raises(UsageError, match="trainers atlas, adnett: not known. Choose from adnet, adnet_3d"):
        trainable("atlas,adnet,adnett")


def test_errors_become_a_status_and_a_sentence() -> None:
    wrapped = RuntimeError("MONAI wraps it")
    wrapped.__cause__ = ScanError(["a.nii.gz: is bad. Mend it.", "b.nii.gz: too."])
    assert status_and_sentence(wrapped) == (400, "a.nii.gz: is bad. Mend it.\nb.nii.gz: too.")
    assert status_and_sentence(UsageError("no")) == (400, "no")
    assert status_and_sentence(KeyError("x")) == (500, "KeyError: 'x' (the server's log says where)")
    own = type("MONAILabelException", (Exception,), {"error": "INVALID_INPUT", "msg": "There is no model"})()
    assert status_and_sentence(own) == (400, "There is no model")
