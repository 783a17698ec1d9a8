# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The rounds of corrections of a folder: what each was, how far it came, and the masks that it has replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.segment.folder import HISTORY
from monai_fss.data import ScanError, sha256_of, write_json

__all__ = ["LABELS", "History"]

LABELS = "labels"


class History:
    """
    ``OUT/history``: ``rounds.json``, and for each round a folder ``NNN`` with the files that it has replaced, its
    edited masks as labels (``labels/<case>.nii.gz``), and ``new``, what it has made.

    Args:
        output: the folder of masks.
        base: what the masks were made by, as JSON values, before any correction.

    Attributes:
        rounds: of earlier calls, and of this one; the last may be unfinished.

    Raises:
        UsageError: the rounds are of another run.
        ScanError: they are damaged, or a label has been changed.
    """

    def __init__(self, output: Path, base: Any) -> None:
        self.output, self.folder = output, output / HISTORY
        self.file = self.folder / "rounds.json"
        self.base = json.loads(json.dumps(base))
        self.rounds: list[dict[str, Any]] = []
        if self.file.exists():
            self._read()

    def _read(self) -> None:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            base, self.rounds = content["base"], list(content["rounds"])
        except (ValueError, KeyError, TypeError) as error:
            raise ScanError(f"{self.file}: is damaged ({error}). Move {self.folder} away to begin anew.") from error
        if base != self.base:
            raise UsageError(
                f"{self.folder}: has corrections of masks that were made otherwise. Move it away to begin anew."
            )
        again = f"Put it back, or move {self.folder} away to begin anew."
        for case, known in self.labels.items():
            if not self.label(case).exists() or sha256_of(self.label(case)) != known:
                raise ScanError(f"{self.label(case)}: has been changed or removed. {again}")

    @property
    def labels(self) -> dict[str, str]:
        """Case to SHA-256 of its label, of all rounds."""
        return {case: digest for one in self.rounds for case, digest in one.get("labels", {}).items()}

    def check_scans(self, contents: Mapping[str, str]) -> None:
        """Refuse labels whose scans are other ones now.

        Args:
            contents: case to SHA-256 of its scan.

        Raises:
            ScanError: as said.
        """
        known = {case: digest for one in self.rounds for case, digest in one.get("scans", {}).items()}
        changed = [case for case, digest in known.items() if contents.get(case) != digest]
        if changed:
            raise ScanError(
                f"{self.folder}: the scan(s) of {', '.join(changed)} have changed since their masks were corrected. "
                "Move it away to begin anew."
            )

    @property
    def done(self) -> list[dict[str, Any]]:
        """The rounds that are finished."""
        return [one for one in self.rounds if one.get("done")]

    @property
    def open(self) -> dict[str, Any] | None:
        """The round that is not finished, or None."""
        return next((one for one in self.rounds if not one.get("done")), None)

    def label(self, case: str) -> Path:
        """Where the last edited mask of a case lies as a label."""
        number = next(one["number"] for one in reversed(self.rounds) if case in one["labels"])
        return self.place(number, LABELS, f"{case}.nii.gz")

    def place(self, number: int, *more: str) -> Path:
        """In the folder of a round."""
        return self.folder.joinpath(f"{number:03d}", *more)

    def save(self) -> None:
        """Write ``rounds.json``."""
        write_json(self.file, {"base": self.base, "rounds": self.rounds})

    def give_up(self) -> None:
        """Forget the round that is not finished, with what it has made."""
        if self.open is not None:
            shutil.rmtree(self.place(self.open["number"]), ignore_errors=True)
            self.rounds = self.done
            self.save()

    def exchange(self, number: int, files: Iterable[str], new: Mapping[str, Path]) -> None:
        """
        Put files into the folder in the place of others, which are kept. Done again after an interruption, it goes on.

        Args:
            number: of the round.
            files: that were there before, and are replaced or fall away, relative to the folder.
            new: file, relative to the folder, to what takes its place; what is not there has been moved already.
        """
        arrived = {name for name, file in new.items() if not file.exists()}
        for name in files:
            kept = self.place(number, name)
            if (self.output / name).exists() and not kept.exists() and name not in arrived:
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.output / name, kept)
        for name, file in new.items():
            if file.exists():
                (self.output / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, self.output / name)

    def forget(self) -> int:
        """Remove the masks that were replaced, and those that were not taken; return how many bytes.

        The labels, and what the rounds were, stay.
        """
        size = 0
        for one in self.done:
            for path in sorted(self.place(one["number"]).glob("*")):
                if path.name == LABELS:
                    continue
                files = [file for file in (path, *path.rglob("*")) if file.is_file()]
                size += sum(file.stat().st_size for file in files)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return size
