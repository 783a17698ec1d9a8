# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which tolerance an organ has, by whatever its name is written."""

from __future__ import annotations

import pytest

from monai_fss.metrics import parse_tolerances, tolerance_mm


@pytest.mark.parametrize(
    ("organ", "mm"),
    [
        ("liver", 5),
        ("Left Kidney", 3),
        ("right_kidney", 3),
        ("kidneys", 3),
        ("inferior_vena_cava", 2),
        ("portal_and_splenic_vein", 2),
        ("right_adrenal_gland", 2),
        ("oesophagus", 3),
        ("pancreas", 5),
        ("brain-stem", 2),
        ("deliverer", 2),
        ("", 2),
    ],
)
def test_by_name(organ: str, mm: float) -> None:
    assert tolerance_mm(organ) == mm


def test_own_ones_go_before_the_table() -> None:
    own = parse_tolerances("1.5, kidneys=4,left kidney=6")
    assert tolerance_mm("liver", own) == 1.5
    assert tolerance_mm("right_kidney", own) == 4
    assert tolerance_mm("liver", {"spleen": 1}) == 5


@pytest.mark.parametrize("text", ["", "liver", "liver=", "=3", "liver=0", "liver=nan", "liver=101", "2,2", "a=1,A=2"])
def test_what_is_not_understood_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not understood, or there twice. Write liver=5,spleen=3"):
        parse_tolerances(text)
