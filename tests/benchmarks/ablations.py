# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The tables of ablations in ``docs/benchmarks.md``: ``python tests/benchmarks/ablations.py``.

``docs/benchmarks/ablations/<data set>_setting<1|2>_<ep1|ep2>.csv`` hold the scores of ablations (``crapnet:blocks=0``)
on some of the folds, written by ``--add`` as those of ``family.py`` are. An ablation stands below its method, on
the same folds: mean Dice (%) by organ, the difference of the means, in how many pairs of query and organ it is
above, and the mean before training. ``--write`` puts the tables into the document.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from family import FOLDER, METHODS, ORGANS, add, cells, name_parts, read_scores, with_table

from monai_fss.results.baselines import untrained_name
from monai_fss.results.entries import Entry
from monai_fss.results.markdown import markdown_table
from monai_fss.results.tables import MEAN

ABLATIONS = FOLDER / "ablations"


def ablation_table(paths: Sequence[Path], whole: Path = FOLDER) -> str:
    """Markdown of one data set; ``whole`` has the files of the methods as they are, of the same names."""
    head = ["Protocol", "Method", *(organ.replace("_", " ") for organ in ORGANS), MEAN]
    head += ["difference", "above in", "before training"]
    return markdown_table(head, [row for path in paths for row in _rows(path, whole / path.name)])


def _rows(path: Path, whole: Path) -> list[list[str]]:
    recipes = read_scores(path)
    folds = {entry.fold for entry in recipes}
    return [
        row
        for method in METHODS
        if (own := [entry for entry in recipes if _method(entry).startswith(f"{method}:")])
        for row in _group(
            path, method, own + [e for e in read_scores(whole) if _method(e) == method and e.fold in folds]
        )
    ]


def _group(path: Path, method: str, entries: Sequence[Entry]) -> list[list[str]]:
    """The rows of a method and its recipes."""
    found = name_parts(path)
    means = cells(found, entries)
    names = sorted({_method(entry) for entry in entries}, key=lambda name: (name != method, name))
    rows = []
    for name in names:
        shown = [f"{means[name][organ].mean:.1f}" for organ in (*ORGANS, MEAN)]
        against = ["", ""]
        if name != method:
            difference = means[name][MEAN].mean - means[method][MEAN].mean
            against = [f"{difference:+.1f}", _above(entries, name, method)]
        before = means[untrained_name(name)][MEAN].mean if untrained_name(name) in means else None
        rows.append([found["protocol"].upper(), name, *shown, *against, "" if before is None else f"{before:.1f}"])
    return rows


def _above(entries: Sequence[Entry], name: str, method: str) -> str:
    """In how many pairs of query and organ one is above the other: "9 of 12"."""
    dice = {(e.method, e.fold, e.run, e.case, e.label): e.dice for e in entries}
    pairs = [(value, dice[(method, *key[1:])]) for key, value in dice.items() if key[0] == name]
    return f"{sum(a > b for a, b in pairs)} of {len(pairs)}"


def _method(entry: Entry) -> str:
    """The method of a score, or of the baseline that was measured with it."""
    return entry.method.removeprefix(untrained_name(""))


def main() -> None:
    """Print the tables, or add scores."""
    parser = argparse.ArgumentParser(description="tables of ablations in docs/benchmarks.md")
    parser.add_argument("--add", nargs=2, metavar=("FOLDER", "NAME"), help="take the results of an evaluation")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    args = parser.parse_args()
    if args.add:
        ABLATIONS.mkdir(exist_ok=True)
        add(Path(args.add[0]), ABLATIONS / f"{args.add[1]}.csv")
        return
    docs = FOLDER.with_suffix(".md")
    for dataset in sorted({path.stem.split("_setting")[0] for path in ABLATIONS.glob("*.csv")}):
        made = ablation_table(sorted(ABLATIONS.glob(f"{dataset}_setting*.csv")))
        print(f"{dataset}\n\n{made}\n")
        if args.write:
            text = docs.read_text(encoding="utf-8")
            docs.write_text(with_table(text, f"{dataset}, ablations", made), encoding="utf-8")


if __name__ == "__main__":
    main()
