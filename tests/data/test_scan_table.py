# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A table that grows at its end: cut off anywhere, it is mended, and no scan is taken for done that is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_fss.data import InputWarning
from monai_fss.data.scan_table import ScanTable, TableReader, complete_scans, read_rows

COLUMNS = ("case", "label", "note")


def rows(case: str, note: str = "") -> list[dict[str, str]]:
    return [{"case": case, "label": str(label), "note": note} for label in (1, 2)]


def written(path: Path, *cases: str, note: str = "") -> ScanTable:
    table = ScanTable(path, COLUMNS)
    for case in cases:
        table.append(case, rows(case, note))
    return table


def test_the_rows_of_a_scan_are_appended_and_nothing_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = written(tmp_path / "new" / "t.csv", "a")
    before = table.path.read_bytes(), table.path.stat().st_ino
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle))
    table.append("b,\n", rows("b,\n", 'a "b"\nc'))
    assert len(synced) == 1
    assert table.path.read_bytes() == before[0] + b'"b,\n",1,"a ""b""\nc"\n"b,\n",2,"a ""b""\nc"\n'
    assert table.path.stat().st_ino == before[1]
    assert list(read_rows(table.path)) == [*rows("a"), *rows("b,\n", 'a "b"\nc')]


def test_cut_off_at_any_byte_it_is_mended_and_the_scan_is_done_again(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.csv", "a", "b", note="x\ny").path.read_bytes()
    first = whole.index(b"b,1")
    for size in range(first, len(whole)):
        path = tmp_path / f"{size}.csv"
        path.write_bytes(whole[:size])
        assert [row["case"] for row in read_rows(path)][:2] == ["a", "a"]
        assert complete_scans(path, 2) == {"a"}
        with TableReader(path) as table:
            whole_lines = table.end == size
        if whole_lines:
            written(path, "b", note="x\ny")
        else:
            with pytest.warns(InputWarning, match="its end was cut off"):
                written(path, "b", note="x\ny")
        assert path.read_bytes() == whole
    path.write_bytes(whole + bytes(40))  # as a file system may leave it that lost its power
    assert complete_scans(path, 2) == {"a", "b"}
    path.write_bytes(whole[:first])
    assert complete_scans(path, 2) == {"a"} and complete_scans(path, 3) == set(), "the only one: by its number of rows"
    path.write_bytes(b"case,la")
    assert complete_scans(path, 2) == set() and written(path, "a", "b", note="x\ny").path.read_bytes() == whole


def test_what_cannot_be_written_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = written(tmp_path / "t.csv", "a")
    before = table.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            table.append("b", rows("b"))
    assert table.path.read_bytes() == before
    table.append("b", rows("b"))
    assert complete_scans(table.path, 2) == {"a", "b"}


def test_a_scan_done_again_has_its_rows_once_and_the_order_is_brought_back(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    written(path, "c", "a", "b")
    table = written(path, "a", note="again")
    assert [row["case"] + row["note"] for row in read_rows(path)][::2] == ["c", "b", "aagain"]
    table.arrange()
    assert [row["case"] + row["note"] for row in read_rows(path)] == ["aagain"] * 2 + ["b"] * 2 + ["c"] * 2
    inode = path.stat().st_ino
    table.arrange()
    assert path.stat().st_ino == inode, "written anew only where the order changes"
    table.forget(["c", "a", "z"])
    assert [row["case"] for row in read_rows(path)] == ["b", "b"]
    ScanTable(tmp_path / "none.csv", COLUMNS).arrange()
    assert not (tmp_path / "none.csv").exists()


def test_a_column_more_is_empty_for_the_scans_before(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    written(path, "a")
    ScanTable(path, (*COLUMNS, "more")).append("b", [{**row, "more": "1"} for row in rows("b")])
    assert [row["more"] for row in read_rows(path)] == ["", "", "1", "1"]
    written(path, "c")
    assert [row["more"] for row in read_rows(path, ("other",))][-2:] == ["", ""]
    assert next(read_rows(path, ("other",)))["other"] == ""
