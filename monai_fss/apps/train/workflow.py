# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The training of a method on a data set folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.memory import reading_each_file_once
from monai_fss.apps.methods.ct_window import say_window, training_window
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import device_setting
from monai_fss.apps.train.checks import (
    check_data,
    check_extent,
    check_labelled,
    check_learnt,
    check_marks,
    check_organs,
    check_stages,
    check_validation,
    check_values,
    classes_left_out,
    of_labels,
    say_runs,
    shortest_run,
)
from monai_fss.apps.train.contents import CONTENTS, training_contents
from monai_fss.apps.train.run_folder import check_run, known_contents, note_finished, start_training
from monai_fss.data import training_items
from monai_fss.engines.workflows import parser_values, quiet_monai

__all__ = ["train"]


@reading_each_file_once()
def train(
    method: Method | str,
    data: str | Path,
    output: str | Path,
    *,
    cases: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """
    Train a bundle on a data set folder.

    CT is clipped to soft tissue (-125 to 275 HU) where dataset.json says that it is CT and no window was set.

    Args:
        method: what is trained, or its name, see :meth:`monai_fss.apps.methods.method.Method.parse`.
        data: data set folder; every scan and label of ``cases`` is checked first.
        output: folder for ``model.pt``, ``model_best.pt`` (where there was validation), ``checkpoints/``, ``cache/``
            and ``run.json``, the note of what the training was started with.
        cases: names of the cases to use. Default: all.
        settings: of the configuration, see :func:`monai_fss.apps.methods.settings.parse_settings`; the
            method's own values go before them.
        device: "cpu" or "cuda". Default: the bundle's own choice.
        resume: go on from the newest checkpoint, with the same settings and scans; where these lie does not count.
        overwrite: remove a training that is in ``output``.

    Returns:
        steps made in all, those before a resume included.

    Raises:
        ScanError: with every problem of the data; nothing has been written then.
        UsageError: another input is refused; nothing has been written then.
    """
    method = Method.parse(method) if isinstance(method, str) else method
    if not method.is_trained:
        raise UsageError(f"--bundle {method.bundle}: is not trained. Segment with it at once: monai-fss segment.")
    root, folder = Path(data).absolute(), Path(output).absolute()
    known, used = method.known, {**(settings or {}), **method.values}
    overrides: dict[str, Any] = dict(device_setting(device))
    check_values(known, used)
    check_stages(known, used)
    leave_out = classes_left_out(known, used)
    data_folder, summaries = check_data(root, cases)
    if method.is_supervised:
        check_learnt(root, cases, {**known, **used})
    elif method.needs_support:
        check_validation(summaries, known, used)
        if of_labels({**known, **used}):
            check_organs(root, cases, {**known, **used})
    elif method.learns_from_one_scan:
        check_labelled(root, cases, {**known, **used})
    else:
        check_marks(root, cases, {**known, **used})
    if leave_out and not method.is_supervised:
        shortest, labelled = shortest_run(known, used), of_labels({**known, **used})
        say_runs(training_items(root, cases, leave_out, shortest, labelled))
    if 2 in ({**known, **used}.get("position_axes") or ()):
        check_extent(root, summaries, known)
    window = training_window(data_folder.modality, known, used, [summary.scan for summary in summaries])
    if window:
        say_window()
    used |= window
    names = None if cases is None else list(cases)
    note = {**method.note(), "data": str(root), "cases": names, "settings": used}
    note[CONTENTS] = training_contents(method, data_folder, cases, {**known, **used}, known_contents(folder))
    check_run(folder, note, resume=resume, overwrite=overwrite)
    start_training(folder, note, resume=resume)
    overrides |= {"bundle_root": method.folder, "dataset_dir": str(root), "output_dir": str(folder)}
    overrides |= {"resume": resume, "cases": names, **used}
    steps = _run_workflow(method.files, overrides)
    note_finished(folder, steps)
    return steps


def _run_workflow(files: Sequence[Path], overrides: Mapping[str, Any]) -> int:
    from monai.bundle import ConfigWorkflow

    quiet_monai()
    workflow = ConfigWorkflow(
        config_file=[str(file) for file in files],
        meta_file=str(files[0].parent / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        **parser_values(overrides),
    )
    workflow.initialize()
    workflow.run()
    steps = int(workflow.trainer.state.iteration)
    workflow.finalize()
    return steps
