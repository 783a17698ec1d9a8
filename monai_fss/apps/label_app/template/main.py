# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Few-shot segmentation in MONAI Label: label one study and submit it, the others are segmented by it.

    monailabel start_server --app DIR --studies STUDIES --host 127.0.0.1 --conf sam2 false

Options (``--conf KEY VALUE``): ``labels`` (``liver=1,spleen=4``: organs that viewers offer before a label),
``modality`` (``CT`` clips intensities to soft tissue), ``trainers`` (``adnet,prnet``: methods that are offered, default
all), ``cache_gb`` (room for registrations, default 2). Those of MONAI Label's own apps change nothing here.

What is MONAI Label's own is in this file, everything else in ``monai_fss.apps.label_app``.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.datastore.utils.convert import dicom_seg_to_itk_image
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from monai_fss import __version__
from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.answer import Workplace, answer, drop_labels
from monai_fss.apps.label_app.choose import any_unlabelled, next_to_label, quality_note, worst_quality_first
from monai_fss.apps.label_app.dicom_server import ServerLabels, check_segments
from monai_fss.apps.label_app.mask_file import write_mask
from monai_fss.apps.label_app.models import Segmenter, find_segmenters, trainable
from monai_fss.apps.label_app.organs import declared_organs, organs_of
from monai_fss.apps.label_app.refusal import REFUSED, status_and_sentence
from monai_fss.apps.label_app.scribbles import SCRIBBLES, grow, keep_marks, read_marks
from monai_fss.apps.label_app.studies import FINAL, Study, asked_study, label_problems, named_study, studies_of
from monai_fss.apps.label_app.training import progress, train_on_studies, training_options
from monai_fss.apps.label_app.wanted import extension_of, wanted
from monai_fss.apps.methods.method import Method
from monai_fss.data import ContentCache

logger = logging.getLogger(__name__)
STUDY, STUDIES = "fss_study", "fss_studies"  # keys of a request that a task is given


@contextmanager
def in_words() -> Iterator[None]:
    """What is refused becomes HTTP 400 with the sentence, what fails 500 with its kind; never a bare 500."""
    try:
        yield
    except HTTPException:
        raise
    except Exception as error:
        status, sentence = status_and_sentence(error)
        if status != REFUSED:
            logger.exception("request failed")
        raise HTTPException(status_code=status, detail=sentence) from error


def local_studies(store: Datastore, tag: str = FINAL) -> list[Study]:
    """The studies with their labels of one tag; of a server of DICOM with its newest DICOM-SEG as the final ones."""
    if (fetch_labels := getattr(store, "fetch_labels", None)) is not None:
        fetch_labels()
    return studies_of(store, tag, LocalDatastore)


class Segmentation(InferTask):
    """A method, with its model where it has one."""

    def __init__(self, segmenter: Segmenter, app: FewShotApp) -> None:
        self.segmenter, self.app = segmenter, app
        super().__init__(
            InferType.SEGMENTATION, {}, segmenter.dimension, segmenter.description, config=segmenter.options()
        )

    def info(self) -> dict[str, Any]:
        """With the organs that it would segment now."""
        return {**super().info(), "labels": self.segmenter.learnt or self.app.organs()}

    def is_valid(self) -> bool:
        """It is: what cannot be used is not made."""
        return True

    def get_path(self, validate: bool = True) -> str | None:
        """Of the model file."""
        return str(self.segmenter.model) if self.segmenter.model else None

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``."""
        wish = wanted(request, self.segmenter)
        found = answer(wish, request[STUDIES], Path(request["image"]), self.app.place)
        if (study := request.get(STUDY)) is not None and found.params["quality"] is not None:
            self.app.datastore().update_image_info(study, quality_note(found.params, self.segmenter.name))
        return str(found.mask), found.params


class Scribbles(InferTask):
    """Scribbles become a mask at once, and are kept for PRNet."""

    def __init__(self, app: FewShotApp) -> None:
        self.app = app
        text = "Scribbles grow to a mask along intensities (geodesic distance); they are kept to train prnet with"
        super().__init__(InferType.SCRIBBLES, [], 3, text, config={"keep": True})

    def is_valid(self) -> bool:
        """It needs nothing."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Grow the scribbles of the file ``request["label"]``."""
        if not request.get("label"):
            raise UsageError("scribbles: no file of them was sent. Send one as the form field label.")
        image = Path(request["image"])
        marks = read_marks(image, Path(request["label"]), request)
        grown = grow(image, marks)
        handle, name = tempfile.mkstemp(suffix=extension_of(request))
        os.close(handle)
        write_mask(Path(name), grown.mask, grown.affine, image)
        study = request.get(STUDY)
        if study is not None and request.get("keep", True):
            keep_marks(self.app.datastore(), study, marks, self.app.scribble_organs(marks.organs), image)
        return name, {"label_names": grown.names, "kept_for_training": study if request.get("keep", True) else None}


class Training(TrainTask):
    """Trains a method on the studies of the datastore."""

    def __init__(self, method: Method, app: FewShotApp) -> None:
        self.method, self.app = method, app
        super().__init__(f"Train {method.bundle} on all studies")

    def config(self) -> dict[str, Any]:
        """Parameters of a request with their defaults."""
        return training_options(self.method)

    def stats(self) -> dict[str, Any]:
        """How far it is."""
        return progress(self.app.models / self.method.bundle)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; the model is there when it returns."""
        folder = self.app.models / self.method.bundle
        marked = local_studies(datastore, SCRIBBLES) if "scribbles" in self.method.known else []
        return train_on_studies(self.method, local_studies(datastore), folder, self.app.place, request, marked)


class Next(Strategy):
    """A rule by which a study is chosen."""

    def __init__(self, description: str, rule: Callable[[list[Study]], dict[str, Any]]) -> None:
        super().__init__(description)
        self.rule = rule

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """The study, as ``id``, and why."""
        return self.rule(local_studies(datastore))


class FewShotApp(MONAILabelApp):
    """The app."""

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        self.models = Path(app_dir) / "model"
        self.models.mkdir(parents=True, exist_ok=True)
        room = float(conf.get("cache_gb", 2)) * 1e9
        declared = declared_organs(conf.get("labels", ""))
        self.methods = trainable(conf.get("trainers", ""))
        self.place = Workplace(Path(app_dir) / "cache", declared, conf.get("modality", ""), room)
        text = "Few-shot segmentation: label one study and submit it, the others are segmented by it"
        super().__init__(app_dir, studies, dict(conf), "monai_fss", text, __version__)

    def init_datastore(self) -> Datastore:
        """MONAI Label's own, whose refusal of a label is told in words; with the labels of a server of DICOM."""
        store = super().init_datastore()
        save, remote = store.save_label, isinstance(store, DICOMWebDatastore)

        def save_label(image: str, file: str, tag: str, info: dict[str, Any], *given: Any, **named: Any) -> Any:
            with in_words():
                if remote and tag == FINAL:
                    info = check_segments(Path(file), info)
                return save(image, file, tag, info, *given, **named)

        store.save_label = save_label
        if remote:
            known = ServerLabels(store, LocalDatastore, dicom_web_download_series, dicom_seg_to_itk_image)
            store.fetch_labels = known.fetch
        return store

    def init_infers(self) -> dict[str, InferTask]:
        """The atlas, each trained model, and scribbles."""
        found, self.unusable = find_segmenters(self.models)
        tasks = {name: Segmentation(segmenter, self) for name, segmenter in found.items()}
        return {**tasks, "scribbles": Scribbles(self)}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Every method that can be trained."""
        return {method.bundle: Training(method, self) for method in self.methods}

    def init_strategies(self) -> dict[str, Strategy]:
        """Which study is next."""
        root, modality, cache = Path(self.studies), self.place.modality, ContentCache(self.place.registrations)
        return {
            "suggest": Next("the study to label next", lambda found: next_to_label(found, root, modality, cache)),
            "worst_quality": Next("the mask to review next: lowest quality first", worst_quality_first),
            "random": Next("any study without a label", any_unlabelled),  # OHIF asks for it first
        }

    def organs(self) -> dict[str, int]:
        """Organs of all labels, name to value."""
        return organs_of(local_studies(self.datastore()), self.place.declared)

    def scribble_organs(self, names: Any) -> dict[str, int]:
        """Those declared and labelled, and such that are scribbled alone."""
        organs = self.organs()
        kept = [name for study in local_studies(self.datastore(), SCRIBBLES) for name in _listed(study.info)]
        for name in [*kept, *names]:
            organs.setdefault(name, max(organs.values(), default=0) + 1)
        return organs

    def info(self) -> dict[str, Any]:
        """With the models that are there now."""
        with in_words():
            self._infers = self.init_infers()
            return super().info()

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment a study of the datastore, or a file that was sent along."""
        with in_words():
            self._infers = self.init_infers()
            name, image, store = str(request.get("model")), str(request["image"]), datastore or self.datastore()
            if name in self.unusable:
                raise UsageError(self.unusable[name])
            if name not in self._infers:
                raise UsageError(f"model {name!r}: is not here. There are {', '.join(self._infers)}.")
            studies = local_studies(store)
            study = asked_study(studies, image)
            # Where the server was started there may be a file with the study's name: MONAI Label would take that.
            place, study_name = (str(study.image), study.name) if study else (image, None)
            result = super().infer({**request, "image": place, STUDY: study_name, STUDIES: studies}, store)
            if study and request.get("save_label"):
                kept = {"model": name, "params": result["params"]}
                tag = request.get("label_tag", DefaultLabelTag.ORIGINAL)
                result["label"] = store.save_label(study.name, result["file"], tag, kept)
            return result

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment many; one that is refused does not stop the others. Without a graphics card MONAI Label would look
        for one to share them out to."""
        with in_words():
            # 3D Slicer opens what is kept as it reads an answer.
            asked = {"multi_gpu": torch.cuda.is_available(), "restore_label_idx": True, **request}
            return self._batch_infer(asked, datastore or self.datastore(), self._infer_or_say)

    def _infer_or_say(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        try:
            return self.infer(request, datastore)
        except HTTPException as error:
            print(f"{request['image']}: not segmented: {error.detail}", flush=True)
            return {"label": None, "file": None, "params": {"refused": error.detail}}

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train: in a process of its own, whose last line is the reason where it is refused."""
        try:
            return super().train(request)
        except Exception as error:
            status, sentence = status_and_sentence(error)
            if self._server_mode:
                raise HTTPException(status_code=status, detail=sentence) from error
            if status != REFUSED:
                raise
            print(sentence, flush=True)
            sys.exit(2)

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose a study."""
        with in_words():
            return super().next_sample(request)

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """Renumbered labels are dropped; the client is told if the label cannot be used."""
        super().on_save_label(image_id, label_id)
        drop_labels(self.place)
        with in_words():
            return {"problems": label_problems(named_study(local_studies(self.datastore()), image_id))}


def _listed(info: Mapping[str, Any]) -> list[str]:
    return [entry["name"] for entry in info.get("label_info") or ()]
