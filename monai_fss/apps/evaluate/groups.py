# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Settings 1 and 2: which classes a training must not have seen."""

from __future__ import annotations

from collections.abc import Mapping

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation

__all__ = ["GROUPS", "training_groups"]

GROUPS = (("right_kidney", "left_kidney"), ("liver", "spleen"))
"""CRAPNet's groups (section 4.1): the lower and the upper abdomen."""


def training_groups(
    evaluation: Evaluation, names: Mapping[int, str], occurring: Mapping[int, str]
) -> list[tuple[int, ...]]:
    """The label values of each training of a fold that are left out of it; those that are scored are tested with it.

    In setting 1 a training sees all slices, unlabelled, those of the organs that are tested among them; one by labelled
    organs sees the labels of those that it does not test alone. In setting 2 it does not see a slice that shows one of
    its test classes. So that some slices remain, the classes are tested in
    groups, each with a training of its own. Which classes a training leaves out does not depend on which of them are
    scored: CRAPNet's groups are whole, as far as they occur.

    Args:
        evaluation: its ``setting`` and ``groups``.
        names: of the label values that are scored.
        occurring: names of all label values of the data set.

    Returns:
        for setting 1 one empty group, unless labelled organs are learnt: nothing is left out, everything is tested.

    Raises:
        UsageError: a class is in no group or in two, or a group names one that is not scored.

    Source: C. Ouyang et al., ECCV 2020, section 4.1; H. Ding et al., WACV 2023, section 4.1.
    """
    if not evaluation.is_grouped:
        return [()]
    groups = [tuple(sorted(group)) for group in evaluation.groups or _usual(names, occurring)]
    members = [value for group in groups for value in group]
    twice = sorted({value for value in members if members.count(value) > 1})
    problems = [f"--groups: label value {value} stands in two groups. Name each once." for value in twice]
    for value in sorted({value for group in evaluation.groups for value in group} - names.keys()):
        problems.append(f"--groups: label value {value} is not scored. Scored are {sorted(names)}.")
    alone = sorted(names.keys() - set(members))
    if alone:
        listed = ", ".join(f"{value} ({names[value]})" for value in alone)
        asks = "--setting 2" if evaluation.setting == 2 else "episodes=labels"
        problems.append(f"{asks}: {listed} in no group. Name the groups, such as --groups 1,2 3, or give --labels.")
    if problems:
        raise UsageError(problems)
    return groups


def _usual(names: Mapping[int, str], occurring: Mapping[int, str]) -> list[tuple[int, ...]]:
    values = {name: value for value, name in occurring.items()}
    groups = [tuple(values[name] for name in group if name in values) for group in GROUPS]
    return [group for group in groups if any(value in names for value in group)]
