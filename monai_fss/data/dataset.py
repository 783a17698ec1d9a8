# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A data set as a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_fss.data.cases import list_labels, list_scans, natural_key
from monai_fss.data.dataset_json import DATASET_FILE, Description, read_dataset_json
from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.scans import Label, Scan, check_label, check_scan

__all__ = ["Case", "CaseSummary", "DatasetFolder", "chosen_cases"]


@dataclass(frozen=True)
class Case:
    """
    One case.

    Args:
        name: file name without suffix; image and label share it.
        image: the scan.
        label: its label, or None.
    """

    name: str
    image: Path
    label: Path | None = None


@dataclass(frozen=True, eq=False)
class CaseSummary:
    """
    What :meth:`DatasetFolder.check` found out about one case.

    Args:
        name: of the case.
        scan: what is known of the image (shape, spacing in mm, values).
        label: what is known of the label (voxels of each value), or None.
        absent: organs that dataset.json names and this label does not show; empty without a label.
    """

    name: str
    scan: Scan
    label: Label | None
    absent: tuple[str, ...]


@dataclass
class DatasetFolder:
    """
    A data set: ``images/<case>.nii.gz``, ``labels/<case>.nii.gz`` where known, and ``dataset.json`` if you like.

    Image and label are paired by case name, never by position, so that a missing label shifts nothing. Use
    :meth:`read` to make one.

    Args:
        root: the folder.
        name: of the data set; the folder's name where dataset.json does not say.
        description: one line about it, or empty.
        modality: such as ``"CT"``, or empty.
        labels: organ name to value; empty where dataset.json does not say (see :meth:`names_for`).
        folds: case names, fold by fold; empty where dataset.json does not say.
        cases: by name, in the order of dataset.json or else in natural order.

    Example::

        data = DatasetFolder.read("chaos_t2")
        data.cases["case_01"].label  # chaos_t2/labels/case_01.nii.gz
    """

    root: Path
    name: str
    description: str = ""
    modality: str = ""
    labels: dict[str, int] = field(default_factory=dict)
    folds: tuple[tuple[str, ...], ...] = ()
    cases: dict[str, Case] = field(default_factory=dict)

    @property
    def labelled(self) -> list[Case]:
        """The cases that have a label, in order."""
        return [case for case in self.cases.values() if case.label is not None]

    def names_for(self, values: Iterable[int]) -> dict[str, int]:
        """
        Name label values: as dataset.json does, or ``label_<value>`` where it names none.

        Args:
            values: values that were found in labels.

        Returns:
            name to value, in rising order of the values.
        """
        known = {value: name for name, value in self.labels.items()}
        return {known.get(value, f"label_{value}"): value for value in sorted(set(values))}

    @classmethod
    def read(cls, folder: str | Path) -> DatasetFolder:
        """
        List the files of a data set; no voxel is read.

        Args:
            folder: the data set folder.

        Raises:
            ScanError: with every problem: no images/, a case twice, a label without an image, an unreadable
                dataset.json or one that names cases that do not exist.
        """
        root = Path(folder)
        if not (root / "images").is_dir():
            raise ScanError(
                f"{root}: has no folder images/. A data set holds images/<case>.nii.gz, labels/<case>.nii.gz (same"
                f" names, where known) and, if you like, {DATASET_FILE}."
            )
        problems: list[str] = []
        images = _list(root / "images", problems)
        has_labels = (root / "labels").is_dir() and any((root / "labels").iterdir())
        labels = _list(root / "labels", problems, list_labels) if has_labels else {}
        for name in labels.keys() - images.keys():
            problems.append(
                f"{labels[name]}: label has no image {root / 'images'}/{name}.*. Add it or remove the label."
            )
        path = root / DATASET_FILE
        found = Findings(path)
        said = read_dataset_json(path, found) if path.exists() else Description(root.absolute().name)
        order = _order(said, images, found)
        found.problems[:0] = sorted(problems, key=natural_key)
        found.raise_if_any()
        cases = {name: Case(name, images[name], labels.get(name)) for name in order}
        return cls(root, said.name, said.description, said.modality, said.labels, said.folds, cases)

    def check(self) -> list[CaseSummary]:
        """
        Read every image and label and judge it.

        Returns:
            one summary per case, in order.

        Raises:
            ScanError: with every problem of every file, among them label values that dataset.json does not name.

        Warns:
            InputWarning: see :func:`monai_fss.data.check_scan`.
        """
        summaries: list[CaseSummary] = []
        problems: list[str] = []
        for case in self.cases.values():
            try:
                summaries.append(self._summary(case))
            except ScanError as e:
                problems += e.problems
        if problems:
            raise ScanError(problems)
        return summaries

    def _summary(self, case: Case) -> CaseSummary:
        scan = check_scan(case.image)
        if case.label is None:
            return CaseSummary(case.name, scan, None, ())
        label = check_label(case.label, scan)
        unnamed = [value for value in label.counts if value not in self.labels.values()]
        if self.labels and unnamed:
            found = Findings(case.label)
            named = ", ".join(f"{value} ({name})" for name, value in self.labels.items())
            found.refuse(
                f"has label values {', '.join(map(str, unnamed))} that {DATASET_FILE} does not name (it names {named})",
                "Name them there or correct the label",
            )
            found.raise_if_any()
        absent = tuple(name for name, value in self.labels.items() if value not in label.counts)
        return CaseSummary(case.name, scan, label, absent)


def chosen_cases(folder: str | Path, cases: Sequence[str] | None) -> list[Case]:
    """The named cases of a data set folder, or all of them."""
    if not str(folder):
        raise ScanError("dataset_dir: is not set. Name the folder that holds images/, with --dataset_dir DIR.")
    data = DatasetFolder.read(folder)
    missing = [name for name in cases or () if name not in data.cases]
    if missing:
        raise ScanError(f"{data.root}: has no case {', '.join(missing)}. There are {', '.join(data.cases)}.")
    return [data.cases[name] for name in (data.cases if cases is None else cases)]


def _list(folder: Path, problems: list[str], listed: Callable[[Path], dict[str, Path]] = list_scans) -> dict[str, Path]:
    try:
        return listed(folder)
    except ScanError as e:
        problems += e.problems
        return {}


def _order(said: Description, images: dict[str, Path], found: Findings) -> list[str]:
    """Return the cases of the set in order; refuse names without an image, doubt images that are left out."""
    for what, names in (("cases", said.cases or ()), *((f"fold {i}", fold) for i, fold in enumerate(said.folds))):
        missing = [name for name in names if name not in images]
        if missing and images:
            found.refuse(
                f"{what} names {', '.join(missing)}, of which there is no image", "Add the image or correct it"
            )
    if said.cases is None:
        return list(images)
    unlisted = [name for name in images if name not in said.cases]
    if unlisted:
        found.warn(f"'cases' leaves out {', '.join(unlisted)}", "They are not used; add them to use them")
    outside = [name for fold in said.folds for name in fold if name in unlisted]
    if outside:
        found.refuse(f"folds name {', '.join(outside)}, which 'cases' leaves out", "Name them in both or in neither")
    return list(said.cases)
