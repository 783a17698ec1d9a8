# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Settings 1 and 2: what is left out of which training."""

from __future__ import annotations

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.groups import training_groups
from monai_fss.apps.methods.method import Method

NAMES = {1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"}


def groups(
    names: dict[int, str] = NAMES, occurring: dict[int, str] | None = None, **settings: object
) -> list[tuple[int, ...]]:
    evaluation = Evaluation(Method("adnet"), data="d", **settings)  # type: ignore[arg-type]
    return training_groups(evaluation, names, occurring or names)


def test_setting_1_leaves_nothing_out() -> None:
    assert groups() == [()]


def test_the_groups_of_crapnet_by_the_organs_names() -> None:
    assert groups(setting=2) == [(2, 3), (1, 4)]
    assert groups({6: "liver", 1: "spleen"}, setting=2) == [(1, 6)]


def test_a_usual_group_is_left_out_whole_whichever_of_it_is_scored() -> None:
    assert groups({1: "liver"}, NAMES, setting=2) == [(1, 4)]
    assert groups({1: "liver", 2: "right_kidney"}, NAMES, setting=2) == [(2, 3), (1, 4)]
    assert groups({1: "liver"}, {1: "liver", 2: "right_kidney"}, setting=2) == [(1,)]
    assert groups({1: "liver"}, NAMES, setting=2, groups=((1,),)) == [(1,)]


def test_groups_that_are_given() -> None:
    assert groups(setting=2, groups=((1,), (2, 3, 4))) == [(1,), (2, 3, 4)]


@pytest.mark.parametrize(
    ("names", "given", "says"),
    [
        ({**NAMES, 5: "pancreas"}, (), r"--setting 2: 5 \(pancreas\) in no group. Name the groups"),
        (NAMES, ((1, 2), (2, 3, 4)), "label value 2 stands in two groups"),
        (NAMES, ((1, 2), (3, 4, 9)), r"label value 9 is not scored. Scored are \[1, 2, 3, 4\]"),
    ],
)
def test_classes_must_stand_in_one_group(names: dict[int, str], given: tuple[tuple[int, ...], ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        groups(names, setting=2, groups=given)
