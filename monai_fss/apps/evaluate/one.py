# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Train and test on the folds of a data set, by the papers' protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_fss.apps.evaluate.anchors import ANCHOR_RULES
from monai_fss.apps.evaluate.budget import check_budget, within_budget
from monai_fss.apps.evaluate.checks import check_evaluation
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.fold import FoldTrial
from monai_fss.apps.evaluate.plan import Plan, make_plan
from monai_fss.apps.evaluate.untrained import starting_weights
from monai_fss.apps.memory import reading_each_file_once, warn_memory
from monai_fss.apps.parts.evaluated import Block, check_part, is_done, join_if_done, own_pieces, part_note, write_part
from monai_fss.apps.parts.part import WHOLE, Part
from monai_fss.apps.versions import versions
from monai_fss.data import FoldItems
from monai_fss.results.entries import Results
from monai_fss.results.files import write_results

__all__ = ["REGISTRATIONS", "evaluate"]

EP1_PARTS = 3
"""Labelled slices of EP1: one for each part, see :class:`monai_fss.inferers.EP1Inferer`."""
REGISTRATIONS = "registrations"
"""Folder below that of the models where registrations are kept, by content."""


@reading_each_file_once()
def evaluate(
    evaluation: Evaluation,
    output: str | Path,
    models: str | Path | None = None,
    overwrite: bool = False,
    budget: str | None = None,
    registrations: str | Path | None = None,
    part: Part = WHOLE,
) -> Results | None:
    """Train where no model is given, test, and write ``results.json``, ``.csv``, ``.md`` and pictures.

    Test figures come from the last checkpoint of a step count that is fixed beforehand. Trained models are kept, and
    used again by another protocol over the same folds, runs and settings; an interrupted training goes on. Where the
    support of a fold shows none of the classes that are to be tested, nothing is trained, and the results say so.

    Args:
        evaluation: what and how.
        output: folder for the results.
        models: folder for the models. Default: ``output/models``.
        overwrite: replace results that exist.
        budget: of each training, see :func:`monai_fss.apps.evaluate.budget.within_budget`.
        registrations: folder in which registrations are kept, by content. Default: ``registrations`` below ``models``.
        part: of the queries or trainings, those that this process does, see :mod:`monai_fss.apps.parts.evaluated`.
            Default: all.

    Returns:
        the results; None where other parts are not done yet.

    Raises:
        ScanError: with every problem of the data; nothing has been written then.
        UsageError: the evaluation contradicts itself, or a model that is there was trained otherwise; no result has
            been written then. A budget in minutes may have been measured before, by a few steps in ``models/pace``.
    """
    from monai_fss.apps.evaluate.models import check_models
    from monai_fss.apps.results.plots import draw

    check_evaluation(evaluation)
    check_budget(evaluation, budget)
    output = Path(output)
    check_part(evaluation, budget, output, part, overwrite)
    plan = make_plan(evaluation)
    kept = Path(models or output / "models")
    note = {} if part.whole else part_note(evaluation, plan, budget)
    if not part.whole and not overwrite and is_done(output, part, note):
        return join_if_done(output, part.count)
    _warn_memory(evaluation, plan)
    evaluation = within_budget(evaluation, budget, kept)
    check_models(evaluation, plan, kept)
    blocks, notes = _trials(evaluation, plan, kept, Path(registrations or kept / REGISTRATIONS), part)
    settings = _settings(evaluation, plan, notes)
    if not part.whole:
        write_part(output, part, note, settings, blocks, evaluation.spread)
        return join_if_done(output, part.count)
    results = Results(settings, [entry for block in blocks for entry in block.entries])
    write_results(output, results, evaluation.spread)
    draw(results, [curve for block in blocks for curve in block.curves], output, evaluation.spread)
    return results


def _warn_memory(evaluation: Evaluation, plan: Plan) -> None:
    settings, method = evaluation.known, evaluation.method
    registers = method.registers or evaluation.joins_atlas
    dims = 2 if method.needs_support else 3
    for _, fold in plan.folds:
        queries, supports = ([plan.scans[name] for name in names] for names in (fold.queries, fold.support))
        warn_memory(queries, supports, len(plan.scored), settings.get("pixdim"), registers, dims)


def _trials(
    evaluation: Evaluation, plan: Plan, models: Path, registrations: Path, part: Part
) -> tuple[list[Block], list[str]]:
    """Train and test every fold, run and group, or those of a part: scores with curves of the threshold, and notes."""
    from monai_fss.apps.evaluate.models import fold_model

    trained = evaluation.method.is_trained
    blocks: list[Block] = []
    notes = plan.notes(trained and evaluation.model is None)
    for index, (number, fold, run, group) in enumerate(plan.tests(evaluation.runs)):
        pieces = plan.parts(number, fold, group)
        done = {value for _, names in pieces for value in names}
        missing = [name for value, name in plan.tested(group).items() if value not in done]
        notes += [f"fold {number}: {name} is not in its support" for name in missing]
        chosen = own_pieces(evaluation, part, index, pieces)
        model = None
        if trained and chosen:
            without = plan.left_out(fold, group)
            model = fold_model(evaluation, plan.data, fold, number, run, models, without)
        for piece, own, names in chosen:
            files, support = FoldItems.of(plan.data, own), plan.scans[own.support[0]]
            test = FoldTrial(evaluation, files, names, model, registrations, support)
            entries = test.entries(number, run)
            blocks.append(Block(index, piece, pieces[piece][0].queries, entries, test.curve()))
    return blocks, sorted(set(notes))


def _settings(evaluation: Evaluation, plan: Plan, notes: list[str]) -> dict[str, Any]:
    groups = [[plan.names[value] for value in group] for group in plan.groups]
    return {
        "bundle": evaluation.name,
        "dataset": plan.data.name,
        "split": evaluation.split,
        "setting": evaluation.setting,
        "groups": groups if evaluation.is_grouped else "none",
        "labels": {name: value for value, name in plan.scored.items()},
        "protocol": evaluation.protocol,
        **({"ep1_rule": evaluation.ep1_rule} if evaluation.protocol == "ep1" else {}),
        **({"tolerances": evaluation.tolerances} if evaluation.tolerances else {}),
        "ways": evaluation.ways,
        "runs": evaluation.runs,
        "labelled_scans": "/".join(map(str, sorted({len(fold.support) for _, fold in plan.folds}))),
        **_anchor_note(evaluation),
        **({"transductive": "trained on the images of the queries too"} if evaluation.transductive else {}),
        "labelled_slices": _labelled_slices(evaluation),
        "prior": f"atlas, weight of the network {evaluation.weight}" if evaluation.joins_atlas else "none",
        "folds": [number for number, _ in plan.folds],
        "support": plan.supports(),
        "seed": evaluation.seed,
        "model": evaluation.model or _model_note(evaluation),
        "untrained_network": _untrained_note(evaluation),
        "training_settings": evaluation.settings,
        "command": evaluation.command,
        "versions": versions(),
        "notes": notes,
    }


def _anchor_note(evaluation: Evaluation) -> dict[str, str]:
    rule = evaluation.anchor_rule
    return {} if rule == "split" else {"anchor_rule": ANCHOR_RULES[rule]}


def _labelled_slices(evaluation: Evaluation) -> int | str:
    if evaluation.joins_atlas or evaluation.method.registers:
        return "all"
    if not evaluation.method.needs_support:
        return "scribbles" if "scribbles" in evaluation.known else "all"
    if evaluation.protocol == "ep1":
        return EP1_PARTS
    return 1 if evaluation.support_slices == "middle" else evaluation.support_slices


def _untrained_note(evaluation: Evaluation) -> str:
    known = evaluation.baselines and evaluation.method.is_few_shot and evaluation.is_trained
    return starting_weights(evaluation) if known else "none"


def _model_note(evaluation: Evaluation) -> str:
    if evaluation.is_trained:
        return "trained for each fold and run, last checkpoint"
    return (
        f"not trained, weights: {starting_weights(evaluation)}" if evaluation.method.is_trained else "none: not trained"
    )
