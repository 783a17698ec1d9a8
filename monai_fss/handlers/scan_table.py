# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A CSV table that grows at its end, scan by scan, and is whole after every interruption."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from monai_fss.data import InputWarning, atomic_path

__all__ = ["ScanTable", "Span", "complete_scans", "read_rows", "scan_spans"]

CASE = "case"
"""First column: the scan that a row is of."""
Span = tuple[int, int, int]
"""Where the rows of a scan lie, bytes from and to, and how many they are."""


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


def scan_spans(path: Path) -> tuple[list[str], dict[str, list[Span]], int]:
    """
    What a table holds, without its rows: memory for its scans alone.

    Returns:
        its columns; where the rows of each scan lie (several places, if it was done again and the table is of a program
        that does not take the first away); and the size of what is whole, in bytes.
    """
    spans: dict[str, list[Span]] = {}
    with _opened(path) as stream:
        records = _records(stream)
        end, columns = next(records, (0, []))
        before = None
        for stop, cells in records:
            if cells[0] == before:
                start, _, rows = spans[cells[0]][-1]
                spans[cells[0]][-1] = start, stop, rows + 1
            else:
                spans.setdefault(cells[0], []).append((end, stop, 1))
            before, end = cells[0], stop
    return columns, spans, end


def complete_scans(path: Path, rows: int) -> set[str]:
    """The scans of a table that have as many rows as all have: one has fewer where its writer was stopped.

    Args:
        path: the file.
        rows: of a scan, by which it is judged where it is the only one.
    """
    counts = {case: places[-1][2] for case, places in scan_spans(path)[1].items()}
    most = max(counts.values()) if len(counts) > 1 else rows
    return {case for case, count in counts.items() if count >= most}


class ScanTable:
    """
    Writes the rows of each scan at the end of a table, when it is done.

    All rows of a scan are one write, which is on the disk before :meth:`append` returns. Who is killed while he writes
    leaves a last line that is not whole, or fewer rows than the scan has: the former is cut off when the table is next
    written to, the latter is seen by the number of rows (:func:`scan_spans`). There is one writer at a time; readers
    may come at any time. Rows stand in the order in which scans were done, until :meth:`arrange`.

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
        _, spans, _ = scan_spans(self.path)
        if any(case in spans for case in cases):
            self._keep([case for case in spans if case not in cases], spans)

    def arrange(self, cases: Iterable[str]) -> None:
        """Bring the rows into the order of their scans, the last ones of each alone; written anew only if it changes.

        Args:
            cases: names in order. Scans that are not named go.
        """
        columns, spans, end = scan_spans(self.path)
        order = [case for case in cases if case in spans]
        places = [place for case in order for place in spans[case]]
        starts = [place[0] for place in places]
        whole = not columns or end == self.path.stat().st_size
        if not whole or len(order) < len(spans) or len(places) > len(order) or starts != sorted(starts):
            self._keep(order, spans)

    def _begin(self) -> set[str]:
        """Mend what an interruption has left; the scans that are there."""
        columns, spans, end = scan_spans(self.path)
        if not columns:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # less than a first line
            self._write(_line(self.columns))
            return set()
        if self.path.stat().st_size > end:
            warnings.warn(f"{self.path}: its end was cut off and is taken away.", InputWarning, stacklevel=3)
            os.truncate(self.path, end)
        if any(column not in columns for column in self.columns):
            self._widen([*columns, *(column for column in self.columns if column not in columns)])
        else:
            self.columns = columns
        return set(spans)

    def _widen(self, columns: list[str]) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(read_rows(self.path))
        self.columns = columns

    def _keep(self, cases: Iterable[str], spans: Mapping[str, Sequence[Span]]) -> None:
        with atomic_path(self.path) as temporary, self.path.open("rb") as source, temporary.open("wb") as target:
            target.write(source.readline())
            for case in cases:
                start, stop, _ = spans[case][-1]
                source.seek(start)
                target.write(source.read(stop - start))

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
