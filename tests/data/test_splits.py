# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Every split against lists written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_fss.data import Fold, ScanError, make_folds

CASES = ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"]
FOLDS = [["a1", "a2", "a3"], ["b1", "b2", "b3"], ["c1", "c2", "c3"]]


def test_within_by_hand() -> None:
    assert make_folds("within", CASES, FOLDS) == [
        Fold(("b1", "b2", "b3", "c1", "c2", "c3"), ("a3",), ("a1", "a2")),
        Fold(("a1", "a2", "a3", "c1", "c2", "c3"), ("b3",), ("b1", "b2")),
        Fold(("a1", "a2", "a3", "b1", "b2", "b3"), ("c3",), ("c1", "c2")),
    ]


def test_corrected_by_hand() -> None:
    assert make_folds("corrected", CASES, FOLDS) == [
        Fold(("b2", "b3", "c1", "c2", "c3"), ("b1",), ("a1", "a2", "a3")),
        Fold(("a1", "a2", "a3", "c2", "c3"), ("c1",), ("b1", "b2", "b3")),
        Fold(("a2", "a3", "b1", "b2", "b3"), ("a1",), ("c1", "c2", "c3")),
    ]


PAPER = {
    20: [
        (4, [0, 1, 2, 3], [*range(5, 20)]),
        (8, [4, 5, 6, 7], [*range(4), *range(9, 20)]),
        (12, [8, 9, 10, 11], [*range(8), *range(13, 20)]),
        (16, [12, 13, 14, 15], [*range(12), 17, 18, 19]),
        (19, [0, 16, 17, 18], [*range(1, 16)]),
    ],
    35: [
        (7, [0, 1, 2, 3, 4, 5, 6], [*range(8, 35)]),
        (14, [7, 8, 9, 10, 11, 12, 13], [*range(7), *range(15, 35)]),
        (21, [14, 15, 16, 17, 18, 19, 20], [*range(14), *range(22, 35)]),
        (28, [21, 22, 23, 24, 25, 26, 27], [*range(21), *range(29, 35)]),
        (34, [0, 28, 29, 30, 31, 32, 33], [*range(1, 28)]),
    ],
}


@pytest.mark.parametrize("number", PAPER)
def test_paper_by_hand(number: int) -> None:
    cases = [f"case_{i + 1}" for i in range(number)]  # case_10 sorts before case_2 as text
    made = make_folds("paper", sorted(cases))
    assert len(made) == 5
    for fold, (support, queries, train) in zip(made, PAPER[number], strict=True):
        assert fold.support == (cases[support],)
        assert fold.queries == tuple(cases[i] for i in queries)
        assert fold.train == tuple(cases[i] for i in train)
    queried = [name for fold in made for name in fold.queries]
    assert queried.count(cases[0]) == 2 and cases[-1] not in queried


CIRCULAR = {  # queries and support of each fold; 18: as even as can be
    20: [((0, 1, 2, 3), 4), ((4, 5, 6, 7), 8), ((8, 9, 10, 11), 12), ((12, 13, 14, 15), 16), ((16, 17, 18, 19), 0)],
    30: [
        ((0, 1, 2, 3, 4, 5), 6),
        ((6, 7, 8, 9, 10, 11), 12),
        ((12, 13, 14, 15, 16, 17), 18),
        ((18, 19, 20, 21, 22, 23), 24),
        ((24, 25, 26, 27, 28, 29), 0),
    ],
    18: [((0, 1, 2, 3), 4), ((4, 5, 6, 7), 8), ((8, 9, 10, 11), 12), ((12, 13, 14), 15), ((15, 16, 17), 0)],
}


@pytest.mark.parametrize("number", CIRCULAR)
def test_circular_by_hand(number: int) -> None:
    cases = [f"case_{i + 1}" for i in range(number)]
    made = make_folds("circular", sorted(cases), FOLDS)  # folds of dataset.json do not count
    assert len(made) == 5
    for fold, (queries, support) in zip(made, CIRCULAR[number], strict=True):
        assert fold.queries == tuple(cases[i] for i in queries)
        assert fold.support == (cases[support],)
        assert fold.train == tuple(case for i, case in enumerate(cases) if i not in (*queries, support))
    assert sorted(name for fold in made for name in fold.queries) == sorted(cases), "every case once"


@pytest.mark.parametrize(("number", "borders"), [(20, (0, 4, 8, 12, 16, 20)), (30, (0, 6, 12, 18, 24, 30))])
def test_circular_is_what_alpnets_code_does(number: int, borders: tuple[int, ...]) -> None:
    """A fold's list goes round the circle and has one case beyond its border, which is the support."""
    cases = [f"{i}" for i in range(number)]
    made = make_folds("circular", cases)
    for fold, first, last in zip(made, borders[:-1], borders[1:], strict=True):
        *queries, support = [cases[i % number] for i in range(first, last + 1)]
        assert (fold.queries, fold.support) == (tuple(queries), (support,))
        assert fold.train == tuple(case for case in cases if case not in (*queries, support))


def test_circular_is_corrected_for_folds_of_neighbours() -> None:
    cases = [f"case_{i + 1}" for i in range(20)]
    folds = [cases[i : i + 4] for i in range(0, 20, 4)]
    for supports in (1, 2, 4):
        assert make_folds("circular", cases, None, supports) == make_folds("corrected", cases, folds, supports)


def test_circular_needs_five_folds() -> None:
    with pytest.raises(ScanError, match="there are 4 labelled cases; it makes 5 folds, each of at least 1 case"):
        make_folds("circular", CASES[:4])
    with pytest.raises(ScanError, match=r"there are 9 labelled cases; .* and takes 2 support\(s\) from the next"):
        make_folds("circular", CASES, None, 2)


def test_paper_needs_the_papers_number_of_cases() -> None:
    with pytest.raises(
        ScanError, match=r"there are 9 labelled cases; its lists are for 20 \(CHAOS\) or 35 .*'corrected'"
    ):
        make_folds("paper", CASES)


def test_several_supports_by_hand() -> None:
    assert make_folds("within", CASES, FOLDS, supports=2)[0] == Fold(tuple(CASES[3:]), ("a2", "a3"), ("a1",))
    made = make_folds("corrected", CASES, FOLDS, supports=2)
    assert made[2] == Fold(("a3", "b1", "b2", "b3"), ("a1", "a2"), ("c1", "c2", "c3"))
    assert [fold.queries for fold in made] == [fold.queries for fold in make_folds("corrected", CASES, FOLDS)]


@pytest.mark.parametrize("supports", [1, 2])
@pytest.mark.parametrize("split", ["within", "corrected"])
def test_no_case_is_on_two_sides(split: str, supports: int) -> None:
    for fold in make_folds(split, CASES, FOLDS, supports):
        sides = [*fold.train, *fold.support, *fold.queries]
        assert len(sides) == len(set(sides))


@pytest.mark.parametrize("split", ["within", "corrected"])
@pytest.mark.parametrize("folds", [None, []])
def test_missing_folds_are_explained(split: str, folds: list[list[str]] | None) -> None:
    with pytest.raises(
        ScanError, match=rf"split '{split}' needs folds and there are none. Write them .*\"folds\": \[\["
    ):
        make_folds(split, CASES, folds)


def test_small_and_unknown_folds_are_refused() -> None:
    with pytest.raises(ScanError, match=r"fold 1 has 1 case\(s\); split 'within' needs 1 support\(s\) and a query"):
        make_folds("within", CASES, [["a1", "a2"], ["b1"]])
    with pytest.raises(
        ScanError, match=r"folds have \[9\] cases; split 'corrected' takes 1 support\(s\) from the next"
    ):
        make_folds("corrected", CASES, [CASES])
    with pytest.raises(ScanError, match="folds name x, y, not a labelled case"):
        make_folds("corrected", CASES, [["a1", "x"], ["y"]])
    with pytest.raises(ScanError, match=r"fold 0 has 3 case\(s\); split 'within' needs 3 support"):
        make_folds("within", CASES, FOLDS, supports=3)
    with pytest.raises(ScanError, match=r"folds have \[3, 3, 3\] cases; split 'corrected' takes 4 support"):
        make_folds("corrected", CASES, FOLDS, supports=4)
    with pytest.raises(ScanError, match="2 supports: split 'paper' says itself which cases are labelled"):
        make_folds("paper", CASES, FOLDS, supports=2)


def _file(folder: Path, content: object) -> Path:
    path = folder / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_file_by_hand(tmp_path: Path) -> None:
    path = _file(tmp_path, {"folds": [{"train": ["a1"], "support": "b2", "queries": ["c1", "c2"]}]})
    assert make_folds(path, CASES) == make_folds(str(path), CASES) == [Fold(("a1",), ("b2",), ("c1", "c2"))]
    several = _file(tmp_path, {"folds": [{"train": [], "support": ["b2", "b1"], "queries": ["c1"]}]})
    assert make_folds(several, CASES) == [Fold((), ("b2", "b1"), ("c1",))]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is not JSON"),
        ([1], "has no list 'folds'"),
        ({"folds": []}, "has no list 'folds'"),
        ({"folds": [{"train": [], "support": "a1"}]}, "fold 0 is {'train'"),
        ({"folds": [{"train": "a1", "support": "a2", "queries": ["a3"]}]}, "fold 0 has a wrong type"),
        ({"folds": [{"train": [], "support": "a2", "queries": []}]}, "fold 0 has no query"),
        ({"folds": [{"train": ["x"], "support": "a2", "queries": ["a3"]}]}, "fold 0 names x, not a labelled case"),
        ({"folds": [{"train": [], "support": "a2", "queries": ["a2"]}]}, "its support a2 among the queries"),
        ({"folds": [{"train": [], "support": [], "queries": ["a3"]}]}, "fold 0 has no support"),
        ({"folds": [{"train": [], "support": ["a2", "a2"], "queries": ["a3"]}]}, "names a2 more than once"),
        ({"folds": [{"train": ["a2"], "support": "a2", "queries": ["a3"]}]}, "its support a2 among the training"),
        ({"folds": [{"train": ["a3"], "support": "a2", "queries": ["a3"]}]}, "trains on its queries a3"),
        ({"folds": [{"train": [], "support": "a2", "queries": ["a3", "a3"]}]}, "names a3 more than once"),
    ],
)
def test_bad_file_is_refused(content: object, text: str, tmp_path: Path) -> None:
    path = _file(tmp_path, content)
    with pytest.raises(ScanError) as caught:
        make_folds(path, CASES)
    assert text in str(caught.value) and str(caught.value).startswith(f"{path}: ")


def test_unknown_split_is_refused() -> None:
    with pytest.raises(
        ScanError, match="half: is not a split and not a file. Use within, corrected, circular, paper, or"
    ):
        make_folds("half", CASES)
