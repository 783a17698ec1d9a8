# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A CSV table that grows at its end, scan by scan, and is whole after every interruption."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from monai_fss.data.cases import natural_key
from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.files.output import part_name
from monai_fss.data.problems import InputWarning

__all__ = ["ScanTable", "Span", "TableReader", "complete_scans", "join_tables", "read_rows", "write_rows"]

CASE = "case"
"""First column: the scan that a row is of."""
Span = tuple[int, int, int]
"""Where the rows of a scan lie, bytes from and to, and how many they are."""


class TableReader:
    """
    A table as it is when it is opened, whatever becomes of the file; of what it holds, the places are kept alone.

    Args:
        path: the file; a table without columns where there is none.

    Attributes:
        columns: of the table.
        spans: where the rows of each scan lie; several places, if it was done again by a writer that is not
            :class:`ScanTable`: the last ones count.
        end: bytes that are whole.
    """

    def __init__(self, path: Path) -> None:
        self.stream = _opened(path)
        records = _records(self.stream)
        self.end, self.columns = next(records, (0, []))
        self.head = self.end
        self.spans: dict[str, list[Span]] = {}
        before = None
        for stop, cells in records:
            if cells[0] == before:
                start, _, rows = self.spans[cells[0]][-1]
                self.spans[cells[0]][-1] = start, stop, rows + 1
            else:
                self.spans.setdefault(cells[0], []).append((self.end, stop, 1))
            before, self.end = cells[0], stop

    def __enter__(self) -> TableReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def lines(self, case: str) -> bytes:
        """The rows of a scan as they stand there."""
        start, stop, _ = self.spans[case][-1]
        self.stream.seek(start)
        return self.stream.read(stop - start)

    def rows(self, case: str) -> Iterator[dict[str, str]]:
        """The rows of a scan."""
        for cells in csv.reader(io.StringIO(self.lines(case).decode("utf-8"), newline="")):
            yield dict(zip(self.columns, cells, strict=True))


def read_rows(path: Path, default: Collection[str] = ()) -> Iterator[dict[str, str]]:
    """Rows of a table, one after another; none where there is no file, nor of what an interruption has cut off.

    Args:
        path: the file.
        default: columns that are empty where it lacks them.
    """
    with _opened(path) as stream:
        records = _records(stream)
        columns = next(records, (0, []))[1]
        for _, cells in records:
            yield dict.fromkeys(default, "") | dict(zip(columns, cells, strict=True))


def complete_scans(path: Path, rows: int | None = None) -> set[str]:
    """The scans of a table that have all of their rows: one has fewer where its writer was stopped.

    Args:
        path: the file.
        rows: of a scan; of several scans, none of which has so many, the most that one has is enough. Default: that.
    """
    with TableReader(path) as table:
        counts = {case: places[-1][2] for case, places in table.spans.items()}
    most = max(counts.values(), default=0)
    needed = most if rows is None else min(rows, most) if len(counts) > 1 else rows
    return {case for case, count in counts.items() if count >= needed}


class ScanTable:
    """
    Writes the rows of each scan at the end of a table, when it is done.

    All rows of a scan are one write, which is on the disk before :meth:`append` returns. A process that is killed
    meanwhile leaves a last line that is not whole, or fewer rows than the scan has: the former is cut off when the
    table is next written to, the latter is seen by the number of rows (:func:`complete_scans`). There is one writer at
    a time; readers may come at any time. Scans stand in the order in which they were done, until :meth:`arrange`.

    Args:
        path: the file; made when first written to.
        columns: of what is written, "case" first. A table that lacks some of them, of an earlier run, gets them, empty.
    """

    def __init__(self, path: str | Path, columns: Sequence[str]) -> None:
        self.path = Path(path)
        self.columns = list(columns)
        self._known: set[str] | None = None

    def append(self, case: str, rows: Iterable[Mapping[str, str]]) -> None:
        """Write the rows of a scan, in place of those that it has.

        Raises:
            OSError: they cannot be written; the table is as it was then.
        """
        if self._known is None:
            self._known = self._begin()
        if case in self._known:
            self.forget([case])
        self._write("".join(_line([row.get(column, "") for column in self.columns]) for row in rows))
        self._known.add(case)

    def forget(self, cases: Collection[str]) -> None:
        """Take away the rows of scans; the table is written anew, at once, if it has any."""
        with TableReader(self.path) as table:
            if any(case in table.spans for case in cases):
                self._keep(table, [case for case in table.spans if case not in cases])

    def arrange(self) -> None:
        """Bring the scans into the order of their names; the table is written anew only if that changes it."""
        with TableReader(self.path) as table:
            order = sorted(table.spans, key=natural_key)
            starts = [start for case in order for start, _, _ in table.spans[case]]
            whole = not table.columns or table.end == self.path.stat().st_size
            if not whole or len(starts) > len(order) or starts != sorted(starts):
                self._keep(table, order)

    def _begin(self) -> set[str]:
        """Mend what an interruption has left; the scans that are there."""
        with TableReader(self.path) as table:
            if not table.columns:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.unlink(missing_ok=True)  # less than a first line
                self._write(_line(self.columns))
                return set()
            if self.path.stat().st_size > table.end:
                warnings.warn(f"{self.path}: its end was cut off and is taken away.", InputWarning, stacklevel=3)
                os.truncate(self.path, table.end)
            more = [column for column in self.columns if column not in table.columns]
            self.columns = [*table.columns, *more]
            if more:
                write_rows(self.path, self.columns, read_rows(self.path))
            return set(table.spans)

    def _keep(self, table: TableReader, cases: Iterable[str]) -> None:
        with atomic_path(self.path) as temporary, temporary.open("wb") as target:
            table.stream.seek(0)
            target.write(table.stream.read(table.head))
            for case in cases:
                target.write(table.lines(case))

    def _write(self, text: str) -> None:
        """At the end of the file, on the disk when it returns; as before where that fails."""
        with open(self.path, "ab", buffering=0) as stream:
            before, left = stream.tell(), memoryview(text.encode())
            try:
                while left:
                    left = left[stream.write(left) or 0 :]
                os.fsync(stream.fileno())
            except OSError:
                os.ftruncate(stream.fileno(), before)
                raise


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table, whole or not at all; a column that a row lacks is empty."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def join_tables(folder: str | Path, name: str, count: int) -> Path:
    """
    Make the table of all parts, in the order of the scans' names; it may be done again when more is there.

    Args:
        folder: where the tables are.
        name: of the table of all, such as "propagation.csv"; see :func:`monai_fss.data.files.output.part_name`.
        count: of the parts; where it is one, its table is that of all.

    Returns:
        the table.
    """
    path = Path(folder) / name
    if count == 1:
        return path
    with ExitStack() as stack:
        readers = [TableReader(path.with_name(part_name(name, number, count))) for number in range(count)]
        tables = [stack.enter_context(reader) for reader in readers]
        owners = {case: table for table in tables for case in table.spans}
        columns = max((table.columns for table in tables), key=len)
        if columns:
            write_rows(
                path, columns, (row for case in sorted(owners, key=natural_key) for row in owners[case].rows(case))
            )
    return path


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return io.BytesIO()


def _records(stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line, the head first, with the place where it ends; up to the first line that is not whole."""
    end, width = 0, 0

    def lines() -> Iterator[str]:
        nonlocal end
        for line in stream:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield line.decode("utf-8", errors="strict")

    reader = csv.reader(lines(), strict=True)
    while True:
        try:
            cells = next(reader)
        except (StopIteration, csv.Error, UnicodeDecodeError):  # csv.Error: it ends within quotation marks
            return
        width = width or len(cells)
        if len(cells) != width or "\0" in cells[0]:
            return
        yield end, cells


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
