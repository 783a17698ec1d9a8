# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A real MONAI Label server with the app, five synthetic studies, and the requests that 3D Slicer and OHIF send.

make label    # makes the environment that these tests run in, and runs them
"""

from __future__ import annotations

import json
import runpy
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from installed_bundles import small_training
from label_scene import QUERIES, Scene, voxels, wait
from label_server import QUICK

from monai_fss.apps import cli
from monai_fss.data.reading.volume import read_scan
from monai_fss.metrics import strict_dice
from monai_fss.transforms.scribbles_from_mask import scribbles_from_mask

pytest.importorskip("monailabel", reason="needs MONAI Label, in an environment of its own: make label")
pytestmark = [pytest.mark.label, pytest.mark.slow, pytest.mark.timeout(900)]


def test_it_answers_soon_and_says_what_it_has(scene: Scene) -> None:
    print(f"/info/ after {scene.server.seconds:.1f} s, {scene.server.cpu_seconds:.1f} s of a processor")
    assert scene.server.cpu_seconds < 15
    info = scene.server.get("/info/").json()
    assert list(info["models"])[0] == "atlas" and info["models"]["scribbles"]["type"] == "scribbles"
    assert info["models"]["atlas"]["labels"] == scene.data.labels and info["labels"] == list(scene.data.labels)
    assert {"adnet", "prnet", "unet_3d"} <= info["trainers"].keys()
    assert list(info["strategies"]) == ["suggest", "worst_quality", "random"]


def test_without_a_label_it_says_what_to_do(scene: Scene) -> None:
    assert scene.before.status_code == 400
    assert scene.before.json()["detail"] == (
        "no study of the datastore has a label with the tag 'final': there is nothing to segment by. Label one study "
        "and submit its label."
    )
    assert scene.saved.json() == {"problems": [], "image": "case_01", "label": "case_01"}


def test_one_labelled_study_segments_the_others(scene: Scene) -> None:
    scores = []
    for case in QUERIES:
        mask, truth = scene.mask(case, QUICK), read_scan(scene.label(case))[0]
        scores += [strict_dice(mask == value, truth == value) for value in scene.data.labels.values()]
    print(f"mean Dice of {len(scores)} organs: {np.mean(scores):.3f}")
    assert np.mean(scores) >= 0.85


def test_masks_equal_those_of_the_command(scene: Scene, tmp_path: Path) -> None:
    data = scene.data.root
    words = ["segment", "--support-image", str(data / "images" / "case_01.nii.gz"), "--images"]
    words += [str(data / "images" / "case_03.nii.gz"), "--output", str(tmp_path / "out"), "--no-quality"]
    words += ["--support-label", str(data / "labels" / "case_01.nii.gz"), "--no-overlays"]
    assert cli.main([*words, "--set", "preset=fast", "spacing=[6,6,9]", "starts=1"]) == 0
    known = nib.Nifti1Image.from_filename(tmp_path / "out" / "case_03.nii.gz")
    answer = scene.server.infer("atlas", "case_03", QUICK, "image")
    file = tmp_path / "answer.nii.gz"
    file.write_bytes(answer.content)
    mask = nib.Nifti1Image.from_filename(file)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(known.dataobj))
    assert mask.header.binaryblock == known.header.binaryblock


def test_names_quality_and_support_stand_in_the_json(scene: Scene) -> None:
    (scene.server.app.parent / "case_02").mkdir()  # where the server was started: it is no scan
    params = scene.server.infer("atlas", "case_02", {**QUICK, "quality": True}).json()
    assert params["label_names"] == scene.data.labels and params["support"] == ["case_01"]
    assert [organ["name"] for organ in params["organs"]] == list(scene.data.labels)
    assert all(0 < organ["quality"] <= 1 and organ["volume_ml"] > 0 for organ in params["organs"])
    assert params["worst_quality"] == min(organ["quality"] for organ in params["organs"])
    assert params["left_out"] == {}


def test_what_slicer_sends_comes_back_as_it_reads_it(scene: Scene, tmp_path: Path) -> None:
    """Values 1, 2, ... by the order of the names, as NRRD; a study that is uploaded, too."""
    sent = {**QUICK, "organs": "spleen,liver", "result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "me"}
    answer = scene.server.infer("atlas", "case_03", sent, "")
    kind, _, rest = answer.headers["content-type"].partition("; boundary=")
    parts = answer.content.split(f"--{rest}".encode())
    assert kind == "multipart/form-data" and len(parts) == 4
    params = json.loads(parts[1].partition(b"\r\n\r\n")[2])
    assert params["label_names"] == {"liver": 1, "spleen": 2}
    (tmp_path / "mask.nrrd").write_bytes(parts[2].partition(b"\r\n\r\n")[2][:-2])
    mask, affine = read_scan(tmp_path / "mask.nrrd")
    own, where = read_scan(scene.server.studies / "case_03.nii.gz")
    np.testing.assert_allclose(affine, where, atol=1e-4)
    whole = scene.mask("case_03", QUICK)
    assert mask.shape == own.shape and set(np.unique(mask)) == {0, 1, 2}
    assert strict_dice(mask == 1, whole == 1) > 0.99 and strict_dice(mask == 2, whole == 4) > 0.99
    again = scene.server.infer("atlas", "", QUICK, "image", file=scene.data.cases["case_03"].image)
    np.testing.assert_array_equal(voxels(again.content, tmp_path), whole)


def test_slicers_own_client_goes_the_whole_way(scene: Scene, tmp_path: Path) -> None:
    """3D Slicer's plug-in sends its requests by this class, which MONAI Label installs."""
    from monailabel.client import MONAILabelClient
    from monailabel.client.client import MONAILabelClientException

    client = MONAILabelClient(scene.server.url, str(tmp_path), "user-xyz")
    info = client.info()
    # Of a list of choices the plug-in sends the first.
    chosen = {k: v[0] if isinstance(v, list) else v for k, v in info["models"]["atlas"]["config"].items()}
    sample = client.next_sample("suggest", {})
    assert sample["id"] in QUERIES and Path(sample["path"]).is_file()
    session = client.create_session(sample["path"])["session_id"]
    sent = {**chosen, **QUICK, "result_extension": ".nrrd", "result_dtype": "uint8"}
    for more in ({"image_id": sample["id"]}, {"image_id": "", "session_id": session}):
        file, params = client.infer("atlas", params=dict(sent), **more)
        assert file.endswith(".nrrd") and params["label_names"] == scene.data.labels
    with pytest.raises(MONAILabelClientException) as error:
        client.infer("atlas", sample["id"], {**sent, "organs": "brain"})
    assert "organs brain: not known here" in error.value.msg, "the plug-in shows it"
    named = [{"name": name, "idx": value} for name, value in params["label_names"].items()]
    saved = client.save_label(sample["id"], file, "review", {"label_info": named, "model": "atlas"})
    assert saved["label"] == sample["id"] and "review" in client.datastore()["objects"][sample["id"]]["labels"]
    np.testing.assert_array_equal(read_scan(client.download_label(sample["id"], "review"))[0], read_scan(file)[0])
    assert client.train_status(check_if_running=True) is False


def test_what_ohif_sends_keeps_the_values_of_info(scene: Scene, tmp_path: Path) -> None:
    sent = {**QUICK, "result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
    answer = scene.server.infer("atlas", "case_03", {**sent, "restore_label_idx": False}, "image")
    mask = voxels(answer.content, tmp_path, ".nrrd")
    np.testing.assert_array_equal(mask, scene.mask("case_03", QUICK))
    assert b"type: unsigned char" in answer.content[:400], "OHIF reads bytes"


@pytest.mark.parametrize(
    ("model", "image", "params", "told"),
    [
        ("atlas", "case_99", {}, "study 'case_99': is not in the datastore, which holds broken, case_01"),
        ("atlas", "case_02", {"organs": "liver,brain"}, "organs brain: not known here. Known organs: liver, "),
        ("atlas", "case_02", {"support": "case_02"}, "support case_02: has no label with the tag 'final'."),
        ("atlas", "case_01", {}, "no study of the datastore besides this one has a label with the tag 'final'"),
        ("atlas", "case_02", {"set": "spacin=3"}, "Did you mean spacing?"),
        ("atlas", "case_02", {"device": "tpu"}, "device 'tpu': is not known. Give cpu or cuda."),
        ("atlas", "case_02", {"result_extension": ".jpg"}, "result_extension '.jpg': is not known."),
        ("alpnet", "case_02", {}, "model 'alpnet': is not here. There are atlas"),
    ],
)
def test_what_is_refused_is_400_with_the_sentence(
    scene: Scene, model: str, image: str, params: dict[str, Any], told: str
) -> None:
    answer = scene.server.infer(model, image, params)
    assert answer.status_code == 400 and told in answer.json()["detail"]


def test_a_label_of_no_study_is_refused(scene: Scene) -> None:
    answer = scene.server.save_label("case_99", scene.label("case_02"), scene.data.labels)
    assert answer.status_code == 400 and answer.json()["detail"] == "Image case_99 not found"


def test_a_broken_scan_is_refused(scene: Scene) -> None:
    for study, sent in (("broken", {}), ("", {"file": scene.server.studies / "broken.nii.gz"})):
        answer = scene.server.infer("atlas", study, QUICK, **sent)
        assert answer.status_code == 400 and "file is damaged" in answer.json()["detail"], answer.text


def test_active_learning_proposes(scene: Scene) -> None:
    proposed = scene.server.post("/activelearning/suggest", {"client_id": "me"})
    assert proposed.status_code == 200 and proposed.json()["id"] in QUERIES
    assert proposed.json()["why"] == "worst covered so far" and "broken.nii.gz" in proposed.json()["passed_over"][0]
    scene.server.infer("atlas", "case_02", {**QUICK, "quality": True})
    review = scene.server.post("/activelearning/worst_quality")
    assert review.status_code == 200 and review.json()["id"] == "case_02" and 0 <= review.json()["worst_quality"] <= 1


def test_training_starts_reports_ends_and_its_model_answers(scene: Scene) -> None:
    small = "steps_per_epoch=1,size=[64,64],pixdim=5,supervoxel_ml=40,batch_size=1,val_queries=0,tensorboard=false"
    refused = scene.server.post("/train/adnet", {"set": "stepz=3"}, run_sync=True)
    assert refused.status_code == 400 and "stepz" in refused.json()["detail"]
    started = scene.server.post("/train/adnet", {"steps": 3, "device": "cpu", "set": small})
    assert started.status_code == 200 and started.json()["status"] in ("SUBMITTED", "RUNNING")
    status = wait(scene, "/train/")
    assert status["status"] == "DONE", status
    stats = scene.server.get("/info/").json()["train_stats"]["adnet"]
    assert (stats["epoch"], stats["total_epochs"]) == (3, 3) and stats["total_time"] > 0
    trained = json.loads((scene.server.app / "model" / "adnet" / "trained.json").read_text())
    assert trained["studies"] == ["case_01", *QUERIES] and trained["steps"] == 3
    assert "broken.nii.gz" in trained["passed_over"][0]
    answer = scene.server.infer("adnet", "case_02", {"device": "cpu"})
    assert answer.status_code == 200 and answer.json()["method"] == "adnet"
    assert answer.json()["label_names"] == scene.data.labels


def test_all_at_once_are_segmented_and_kept_for_review(scene: Scene) -> None:
    started = scene.server.post("/batch/infer/atlas", {**QUICK, "quality": True}, images="unlabeled")
    assert started.status_code == 200
    wait(scene, "/batch/infer/")
    objects = scene.server.get("/datastore/", output="all").json()["objects"]
    assert sorted(name for name, known in objects.items() if "original" in known["labels"]) == QUERIES
    kept = objects["case_04"]["labels"]["original"]["info"]
    assert kept["params"]["label_names"] == scene.data.labels, "3D Slicer names the segments by it"
    rated = {case: objects[case]["image"]["info"]["monai_fss_quality"]["worst_quality"] for case in QUERIES}
    assert scene.server.post("/activelearning/worst_quality").json()["id"] == min(rated, key=lambda case: rated[case])


def test_scribbles_become_a_mask_and_train_prnet(scene: Scene, tmp_path: Path) -> None:
    """As 3D Slicer sends them: all segments in one file, those of the scribbles last."""
    truth, affine = read_scan(scene.label("case_04"))
    answers = []
    for name in ("liver", "spleen"):
        value = scene.data.labels[name]
        drawn = scribbles_from_mask((truth == value).astype(np.uint8), (5, 5, 9), 5, 2)
        file = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.where(drawn == 2, 7, np.where(drawn == 1, 6, 0)).astype(np.uint8), affine), file)
        names = [*scene.data.labels, "foreground_scribbles", "background_scribbles"]
        listed = [{"name": segment, "id": number} for number, segment in enumerate(names, 1)]
        sent = {"roi": [], "label_info": listed, "selected_label_name": name, "result_extension": ".nrrd", "keep": True}
        answers.append(scene.server.infer("scribbles", "case_04", sent, "image", label=file))
        assert answers[-1].status_code == 200, answers[-1].text
        grown = voxels(answers[-1].content, tmp_path, ".nrrd")
        assert set(np.unique(grown)) == {0, 1} and strict_dice(grown == 1, truth == value) > 0.85
    kept = read_scan(scene.server.studies / "labels" / "scribbles" / "case_04.nii.gz")[0]
    assert set(np.unique(kept)) == {0, 1, 4, 255}
    refused = scene.server.infer("scribbles", "case_04", {})
    assert refused.status_code == 400 and "no file of them was sent" in refused.json()["detail"]
    small = {key: value for key, value in small_training("prnet").items() if key not in ("support", "labels", "steps")}
    sets = [f"{key}={json.dumps(value)}" for key, value in small.items()]
    started = scene.server.post("/train/prnet", {"steps": 2, "device": "cpu", "set": sets})
    assert started.status_code == 200
    assert wait(scene, "/train/")["status"] == "DONE"
    answer = scene.server.infer("prnet", "case_02", {"device": "cpu", "quality": False})
    assert answer.status_code == 200 and answer.json()["label_names"] == {"liver": 1, "spleen": 4}


def test_the_example_labels_one_study_and_receives_the_rest(
    scene: Scene, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(repository / "examples" / "label_client.py"))
    names = ",".join(f"{name}={value}" for name, value in scene.data.labels.items())
    shutil.copy(scene.server.studies / "broken.nii.gz", tmp_path)
    (scene.server.studies / "broken.nii.gz").unlink()
    while "broken" in scene.server.get("/datastore/", output="all").json()["objects"]:
        time.sleep(0.5)
    words = [scene.server.url, "case_01", str(scene.label("case_01")), names, str(tmp_path / "masks")]
    example["main"](*words, f"preset=fast,{QUICK['set']}")
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["study", "organ", "ml", "quality"] and len(rows) >= 5
    for case in {row[0] for row in rows}:
        assert set(np.unique(read_scan(tmp_path / "masks" / f"{case}.nii.gz")[0])) <= {0, *scene.data.labels.values()}


def test_a_hundred_requests_eight_at_a_time(scene: Scene) -> None:
    ask = [(case, {**QUICK, "organs": organ}) for organ in ("", "liver", "spleen") for case in QUERIES]
    for case, params in ask[:8]:
        scene.server.infer("atlas", case, params)
    before = scene.server.memory()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: scene.server.infer("atlas", *ask[number % len(ask)]), range(100)))
    after = scene.server.memory()
    print(f"memory before {before / 1e6:.0f} MB, after 100 requests {after / 1e6:.0f} MB")
    assert [answer.status_code for answer in answers] == [200] * 100
    assert after < before + 100e6


def test_a_killed_server_starts_again_and_has_lost_nothing(scene: Scene) -> None:
    before = scene.mask("case_02", QUICK)
    scene.server.kill()
    scene.server.start()
    began = time.monotonic()
    np.testing.assert_array_equal(scene.mask("case_02", QUICK), before)
    seconds = time.monotonic() - began
    print(f"/info/ after {scene.server.seconds:.1f} s, first answer, registered before, after {seconds:.1f} s")
    assert scene.server.get("/info/").json()["datastore"]["completed"] == 1


def test_a_second_label_changes_the_result(scene: Scene) -> None:
    """Numbered in another order, as another segmentation of 3D Slicer would be: organs are told by their names."""
    before = scene.mask("case_02", QUICK)
    label, affine = read_scan(scene.label("case_03"))
    turned = np.zeros_like(label)
    names = list(scene.data.labels)
    for place, name in enumerate(reversed(names), 1):
        turned[label == scene.data.labels[name]] = place
    file = scene.server.app.parent / "turned.nii.gz"
    nib.save(nib.Nifti1Image(turned, affine), file)
    scene.server.save_label("case_03", file, {name: place for place, name in enumerate(reversed(names), 1)})
    after = scene.mask("case_02", QUICK)
    truth = read_scan(scene.label("case_02"))[0]
    scores = [strict_dice(after == value, truth == value) for value in scene.data.labels.values()]
    assert (after != before).any() and np.mean(scores) > 0.85
    assert scene.server.infer("atlas", "case_02", QUICK).json()["support"] == ["case_01", "case_03"]
    one = scene.server.infer("atlas", "case_02", {**QUICK, "most_alike": 1}).json()["support"]
    assert one in (["case_01"], ["case_03"])
    np.testing.assert_array_equal(scene.mask("case_02", {**QUICK, "support": "case_01"}), before)
