# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The tables of ``docs/benchmarks.md`` from the scores beside it: ``python tests/benchmarks/family.py``.

``docs/benchmarks/<data set>_setting<1|2>_<ep1|ep2>.csv`` are the ``results.csv`` that ``monai-fss evaluate`` wrote over
several methods. A table of a data set has for each setting and protocol the mean Dice (%) of every method and organ,
mean and deviation as in ``results.md``, and how the mean differs from ADNet's: one-sided Wilcoxon tests over the
queries, corrected by Holm's method over the methods of a setting and protocol, each direction. Methods that were not
evaluated on all folds yet are left out.
``--add FOLDER NAME`` takes the results of one method's evaluation; scores of other methods and folds that NAME.csv has
stay.
``--draw`` draws each file's Dice by organ and method beside it; ``--write`` puts the tables into the document.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from monai_fss.apps.results.compare import Row, compare
from monai_fss.metrics import holm
from monai_fss.results.baselines import MASK_PASTE, UNTRAINED, is_baseline, untrained_name
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import read_results
from monai_fss.results.markdown import markdown_table
from monai_fss.results.tables import MEAN, summarize
from monai_fss.visualize import dice_bars, to_png

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
NAME = re.compile(r"(?P<dataset>\w+)_setting(?P<setting>[12])_(?P<protocol>ep[12])")
REFERENCE = "adnet"
METHODS = ("adnet", "alpnet", "panet", "ppnet", "canet", "crapnet", "adnet_3d")
ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")
COLUMNS = ["fold", "run", "case", "label", "name", "method", "dice", "hd95", "assd", "state"]


def read_scores(path: Path) -> list[Entry]:
    """The entries of a ``results.csv``; an empty cell is an undefined number."""
    kinds = {field.name: {"int": int, "str": str}.get(str(field.type), float) for field in fields(Entry)}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Entry(**{k: math.nan if v == "" else kinds[k](v) for k, v in row.items()}) for row in rows]


def add(source: Path, target: Path) -> None:
    """Write the scores of an evaluation, and those of other methods and folds that are there; paths stay out."""
    new = read_results(source).entries
    method = next(entry.method for entry in new if not is_baseline(entry.method))
    new = [replace(entry, method=untrained_name(method)) if entry.method == UNTRAINED else entry for entry in new]
    same = {(entry.method, entry.fold) for entry in new}
    known = read_scores(target) if target.exists() else []
    old = [entry for entry in known if (entry.method, entry.fold) not in same]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in [*old, *new]:
            writer.writerow([_text(getattr(entry, column)) for column in COLUMNS])


def table(paths: Sequence[Path]) -> str:
    """Markdown of one data set: the settings and protocols one after another."""
    head = ["Setting", "Protocol", "Method", *(organ.replace("_", " ") for organ in ORGANS), MEAN]
    head += ["difference", "p (better)", "p (worse)"]
    return markdown_table(head, [row for path in paths for row in _rows(path)])


def with_table(text: str, dataset: str, made: str) -> str:
    """A document whose table below the heading of a data set, "## <data set>: ...", is replaced."""
    parts = re.split(rf"(^## {dataset}:.*\n\n)((?:\|.*\n)+)", text, flags=re.MULTILINE)
    if len(parts) != 4:
        raise ValueError(f"{dataset}: the document has no heading '## {dataset}: ...' with a table below. Add them.")
    return "".join([parts[0], parts[1], made, "\n", parts[3]])


def draw(path: Path) -> None:
    """Write the bars of a file's methods, and of "mask paste", as a PNG beside it."""
    found = name_parts(path)
    known = _complete(read_scores(path))
    shown = [entry for entry in known if not is_baseline(entry.method) or entry.method == MASK_PASTE]
    title = f"{found['dataset']}, setting {found['setting']}, {found['protocol'].upper()}"
    path.with_suffix(".png").write_bytes(to_png(dice_bars(cells(found, shown), title)))


def _complete(entries: Sequence[Entry]) -> list[Entry]:
    """Those of methods that were evaluated on every fold: means over other folds do not compare."""
    folds = {entry.fold for entry in entries}
    of = {method: {e.fold for e in entries if e.method == method} for method in {entry.method for entry in entries}}
    return [entry for entry in entries if of[entry.method] == folds]


def name_parts(path: Path) -> re.Match[str]:
    """Data set, setting and protocol that a file is named by."""
    found = NAME.fullmatch(path.stem)
    if found is None:
        raise ValueError(f"{path}: is not named <data set>_setting<1|2>_<ep1|ep2>.csv. Rename it.")
    return found


def _rows(path: Path) -> list[list[str]]:
    found = name_parts(path)
    entries = _complete(read_scores(path))
    tests = _against_reference(entries, found)
    return [
        [found["setting"], found["protocol"].upper(), name, *map(_short, row.values()), *tests.get(name, ["", "", ""])]
        for name, row in cells(found, entries).items()
    ]


def cells(found: re.Match[str], entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Means by method and organ, both in the order of the tables and pictures: baselines come last."""
    means = summarize(Results(_settings(found, "several"), entries))
    order = sorted(means, key=lambda name: (is_baseline(name), *_place(name)))
    return {name: {organ: means[name][organ] for organ in (*ORGANS, MEAN)} for name in order}


def _place(name: str) -> tuple[int, str]:
    """Where a method, or its baseline, stands in the table."""
    method = name.removeprefix(untrained_name(""))
    return (METHODS.index(method) if method in METHODS else len(METHODS), name)


def _against_reference(entries: Sequence[Entry], found: re.Match[str]) -> dict[str, list[str]]:
    """Difference of the mean Dice to ADNet's, and Holm's p values of "better" and "worse", by method."""
    methods = list(dict.fromkeys(entry.method for entry in entries if not is_baseline(entry.method)))
    of = {name: Results(_settings(found, name), [e for e in entries if e.method == name]) for name in methods}
    others = [name for name in methods if name != REFERENCE]
    means: list[Row] = [compare(of[name], of[REFERENCE]).rows[-1] for name in others]
    better, worse = holm([row.a_greater.p for row in means]), holm([row.b_greater.p for row in means])
    return {
        name: [f"{100 * (row.mean_a - row.mean_b):+.1f}", _p(better[i]), _p(worse[i])]
        for i, (name, row) in enumerate(zip(others, means, strict=True))
    }


def _settings(found: re.Match[str], bundle: str) -> dict[str, Any]:
    fixed = {"split": "within", "ways": "independent", "runs": 1, "labelled_slices": "", "bundle": bundle}
    return {**fixed, "dataset": found["dataset"], "protocol": found["protocol"], "setting": int(found["setting"])}


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else "< 0.0001"


def _short(cell: Any) -> str:
    return f"{cell.mean:.1f} ± {cell.sd:.1f}" if cell.n > 1 else str(cell)


def _text(value: Any) -> str:
    return ("" if math.isnan(value) else f"{value:.4f}") if isinstance(value, float) else str(value)


def main() -> None:
    """Print the tables, or add scores."""
    parser = argparse.ArgumentParser(description="tables of docs/benchmarks.md")
    parser.add_argument("--add", nargs=2, metavar=("FOLDER", "NAME"), help="take the results of an evaluation")
    parser.add_argument("--draw", action="store_true", help="draw the Dice by organ and method")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    args = parser.parse_args()
    if args.add:
        add(Path(args.add[0]), FOLDER / f"{args.add[1]}.csv")
        return
    for path in sorted(FOLDER.glob("*.csv")) if args.draw else ():
        draw(path)
    docs = FOLDER.with_suffix(".md")
    for dataset in sorted({path.stem.split("_setting")[0] for path in FOLDER.glob("*.csv")}):
        made = table(sorted(FOLDER.glob(f"{dataset}_setting*.csv")))
        print(f"{dataset}\n\n{made}\n")
        if args.write:
            docs.write_text(with_table(docs.read_text(encoding="utf-8"), dataset, made), encoding="utf-8")


if __name__ == "__main__":
    main()
