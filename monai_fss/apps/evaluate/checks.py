# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Evaluations that contradict themselves are refused before anything is read."""

from __future__ import annotations

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.anchors import ANCHOR_RULES
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.settings import device_setting
from monai_fss.inferers import EP1_RULES
from monai_fss.results import SPREADS

__all__ = ["check_evaluation"]

_RULE = "ep1_rule"


def check_evaluation(evaluation: Evaluation) -> None:
    """Refuse what would be left out without a word.

    Raises:
        UsageError: with every problem.
    """
    method = evaluation.method
    problems = _numbers(evaluation)
    if evaluation.model is not None and evaluation.runs > 1:
        problems.append(f"--runs {evaluation.runs}: repeats trainings, but --model is given. Leave one of them out.")
    if evaluation.model is not None and evaluation.settings:
        problems.append("--set: changes a training, but --model is given. Leave one of them out.")
    if evaluation.groups and not evaluation.is_grouped:
        problems.append("--groups: is of setting 2, or of episodes=labels. Leave it out, or give --setting 2.")
    if method.recipe is not None and evaluation.model is not None:
        problems.append(f"--bundle {evaluation.name}: changes a training, but --model is given. Leave the recipe out.")
    problems += _recipe(evaluation)
    problems += _names(evaluation)
    problems += _anchors(evaluation)
    problems += _transductive(evaluation)
    if evaluation.setting == 2 and evaluation.model is not None:
        problems.append("--setting 2: trains without the test classes, but --model is given. Leave one of them out.")
    if method.is_trained and not method.needs_support:
        problems += _learnt(evaluation)
    if not method.is_trained:
        problems += _untrainable(evaluation)
    elif method.registers:
        problems += _registered(evaluation)
    elif evaluation.protocol == "ep1" and evaluation.support_slices != "middle":
        problems.append("--support-slices: is of ep2; ep1 uses three slices. Leave it out, or give --protocol ep2.")
    if problems:
        raise UsageError(problems)
    device_setting(evaluation.device)


def _numbers(evaluation: Evaluation) -> list[str]:
    """Numbers that cannot be right."""
    problems = []
    if evaluation.runs < 1:
        problems.append(f"--runs {evaluation.runs}: is less than 1. Give at least 1.")
    if evaluation.seed < 0:
        problems.append(f"--seed {evaluation.seed}: is negative. Give 0 or more.")
    if evaluation.prior_weight is not None and not 0 <= evaluation.prior_weight < float("inf"):
        problems.append(f"--prior-weight {evaluation.prior_weight}: is not a number of at least 0. Give such as 0.1.")
    return problems


def _names(evaluation: Evaluation) -> list[str]:
    """Rules and definitions that there are not, or that would not be used."""
    problems = []
    if evaluation.ep1_rule not in EP1_RULES:
        problems.append(f"--ep1-rule {evaluation.ep1_rule}: is not known. Give one of {', '.join(EP1_RULES)}.")
    elif evaluation.ep1_rule != EP1_RULES[0] and evaluation.protocol != "ep1":
        problems.append(
            f"--ep1-rule {evaluation.ep1_rule}: divides the slices that ep1 is told. Leave it out, or give --protocol "
            "ep1."
        )
    elif evaluation.ep1_rule != EP1_RULES[0] and _RULE not in config_keys(evaluation.method.evaluation_files):
        problems.append(
            f"--ep1-rule {evaluation.ep1_rule}: {evaluation.method.bundle}'s configs/evaluate.yaml has no {_RULE}, so "
            "it would not be used. Add it as panet's has it."
        )
    if evaluation.spread not in SPREADS:
        problems.append(f"--spread {evaluation.spread}: is not known. Give one of {', '.join(SPREADS)}.")
    return problems


def _transductive(evaluation: Evaluation) -> list[str]:
    """What cannot learn from images alone."""
    method = evaluation.method
    if not evaluation.transductive:
        return []
    if not method.is_trained or method.is_supervised:
        why = "learns from labels" if method.is_trained else "is not trained"
        return [f"--transductive: learns from images without labels, and {method.bundle} {why}. Leave it out."]
    if evaluation.setting == 2 or evaluation.model is not None:
        other = "--setting 2, which looks at their labels" if evaluation.setting == 2 else "--model: nothing is trained"
        return [f"--transductive: does not go with {other}. Leave one of them out."]
    return []


def _anchors(evaluation: Evaluation) -> list[str]:
    """A rule for labelled scans that cannot be followed."""
    rule, option = evaluation.anchor_rule, f"--anchor-rule {evaluation.anchor_rule}"
    if rule not in ANCHOR_RULES:
        return [f"{option}: is not known. Give one of {', '.join(ANCHOR_RULES)}."]
    problems = []
    if rule != "split" and not evaluation.method.needs_support:
        name = evaluation.method.bundle
        problems.append(f"{option}: chooses the labelled scan of a test, and {name} takes none. Leave it out.")
    if rule == "oracle" and evaluation.supports > 1:
        problems.append(f"{option}: is one scan for each organ, not {evaluation.supports} (--supports). Leave one out.")
    if rule == "oracle" and evaluation.ways == "compete":
        problems.append(f"{option}: each organ has a scan of its own, so they cannot compete (--ways). Leave one out.")
    return problems


def _recipe(evaluation: Evaluation) -> list[str]:
    """A recipe of which the settings leave nothing."""
    method = evaluation.method
    lost = method.cancelled_keys(evaluation.settings)
    if not lost:
        return []
    return [
        f"--set {', '.join(lost)}: sets all that the recipe {method.recipe} of {method.bundle} changes, so "
        f"nothing is left of it. Leave --set or {evaluation.name} out."
    ]


def _learnt(evaluation: Evaluation) -> list[str]:
    """What does not go with a method that learns what to segment, from labels or from one scan's scribbles or label."""
    name, supervised = evaluation.method.bundle, evaluation.method.is_supervised
    scribbles = "scribbles" in evaluation.method.known
    one_scan = "the label of one scan" if evaluation.method.learns_from_one_scan else "scribbles"
    source = "labels" if supervised else one_scan
    problems = []
    if evaluation.protocol == "ep1":
        problems.append(f"--protocol ep1: tells slices, and {name} segments whole scans. Give --protocol ep2.")
    if evaluation.support_slices != "middle":
        problems.append(f"--support-slices {evaluation.support_slices}: {name} learns from {source}. Leave it out.")
    fixed = sorted({"support", "scribbles", "background", "labels"} & set(evaluation.settings))
    if fixed and supervised:
        problems.append("--set labels: those that are scored are learnt. Give --labels.")
    elif fixed:
        problems.append(f"--set {', '.join(fixed)}: each fold has its own labelled scan; for labels give --labels.")
    if evaluation.setting == 2:
        problems.append(f"--setting 2: trains without the classes that {name} learns. Leave it out.")
    if evaluation.supports > 1 and not supervised:
        problems.append(f"--supports {evaluation.supports}: {name} learns from one scan alone. Leave it out.")
    if (evaluation.prior and not evaluation.method.has_prior) or (evaluation.quality and scribbles):
        problems.append(
            f"--quality, --prior: need a labelled scan beside the model, and {name} takes none. Leave it out."
        )
    return problems


def _registered(evaluation: Evaluation) -> list[str]:
    """What does not go with a network that is shown whole labelled scans, registered."""
    name = evaluation.method.bundle
    problems = []
    if evaluation.support_slices != "middle":
        problems.append(f"--support-slices {evaluation.support_slices}: {name} uses all slices. Leave it out.")
    return problems


def _untrainable(evaluation: Evaluation) -> list[str]:
    name = evaluation.method.bundle
    problems = []
    if evaluation.prior is not None:
        problems.append(f"--prior {evaluation.prior}: joins a trained network; {name} is none. Leave it out.")
    if evaluation.model is not None:
        problems.append(f"--model {evaluation.model}: {name} is not trained and takes none. Leave it out.")
    if evaluation.runs > 1:
        problems.append(f"--runs {evaluation.runs}: {name} gives the same masks each time. Leave it out.")
    return problems
