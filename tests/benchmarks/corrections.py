# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
What corrections bring, by three rules of choice: ``python tests/benchmarks/corrections.py DATA --output OUT``.

All scans of a labelled data set but the support are segmented by it. Then, by each rule, one scan after another is
"corrected": its true label stands for the edit, by `monai-fss correct`. The rules are

- gain: the scan of the greatest expected gain, as `monai-fss suggest OUT` ranks them;
- worst: that of the lowest mean quality;
- random: any (``--seed``).

Dice is of the scans that no rule has corrected, so that it is over the same ones throughout, and, where few are left,
of those that a rule itself has not corrected. One command goes on where it was interrupted. Registrations are shared by
the rules through one cache. Written: ``corrections.csv`` (rule, corrections, case, organ, Dice, minutes of the round),
and tables on the screen.

    python tests/benchmarks/corrections.py DATA/btcv_ct --support case_05 --output OUT --corrections 3
    python tests/benchmarks/corrections.py --phantoms 5 --output OUT --set preset=fast spacing=[6,6,6]
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_fss.apps.cli import main as command
from monai_fss.apps.correct.advice import suggested
from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.data import DatasetFolder, LoadScan, natural_key, write_json, write_phantom_dataset
from monai_fss.metrics import strict_dice
from monai_fss.results.markdown import markdown_table

RULES = ("gain", "worst", "random")


def run(words: Sequence[str]) -> None:
    """A command of ours; the program ends where it fails."""
    code = command(list(words))
    if code:
        sys.exit(f"monai-fss {' '.join(words)}: exit code {code}")


def segmented(data: DatasetFolder, support: str, out: Path, settings: Sequence[str]) -> Path:
    """Masks of all scans but the support, in ``out/masks``."""
    scans = out / "scans"
    scans.mkdir(parents=True, exist_ok=True)
    for case in data.labelled:
        link = scans / case.image.name
        if case.name != support and not link.exists():
            link.symlink_to(case.image.absolute(), target_is_directory=case.image.is_dir())
    masks, known = out / "masks", data.cases[support]
    if not (masks / "report.json").exists():
        words = ["segment", "--support-image", str(known.image), "--support-label", str(known.label), "--no-overlays"]
        words += ["--images", str(scans), "--output", str(masks), "--set", f"cache_dir={out / 'cache'}", *settings]
        run(words)
    return masks


def chosen(rule: str, folder: SegmentedFolder, corrected: Sequence[str], seed: int) -> str:
    """The scan that a rule corrects next."""
    left = [case for case in sorted(folder.scans, key=natural_key) if case not in corrected]
    if rule == "gain":
        return suggested(folder)[0].case
    if rule == "worst":
        rated = folder.quality()
        return min(left, key=lambda case: rated[case] or 0.0)
    return str(np.random.default_rng(seed).permutation(sorted(folder.scans, key=natural_key))[len(corrected)])


def rounds_of(folder: Path) -> list[dict]:
    """The finished rounds of a folder of masks."""
    file = folder / "history" / "rounds.json"
    return [one for one in json.loads(file.read_text())["rounds"] if one.get("done")] if file.exists() else []


def corrected_by(rule: str, data: DatasetFolder, masks: Path, out: Path, args: argparse.Namespace) -> list[str]:
    """Correct by a rule; the cases in order. Masks after each round are kept in ``out/<rule>/<corrections>``."""
    target = out / rule
    if not (target / "now").exists():
        shutil.copytree(masks, target / "half", dirs_exist_ok=True)
        (target / "half").rename(target / "now")
    _keep(target, 0)
    for _ in range(len(rounds_of(target / "now")), args.corrections):
        noted = target / "next.json"
        corrected = [case for one in rounds_of(target / "now") for case in one["labels"]]
        known = json.loads(noted.read_text()) if noted.exists() else {}
        if known.get("after") != corrected:
            case = chosen(rule, SegmentedFolder.read(target / "now"), corrected, args.seed)
            write_json(noted, {"after": corrected, "case": case})
        case = json.loads(noted.read_text())["case"]
        more = ["--replace", args.replace, *([] if args.may_gain else ["--all"])]
        run(["correct", str(target / "now"), "--label", f"{case}={data.cases[case].label}", *more])
        _keep(target, len(corrected) + 1)
    return [case for one in rounds_of(target / "now") for case in one["labels"]]


def _keep(target: Path, number: int) -> None:
    kept = target / str(number)
    if not kept.exists():
        kept.mkdir(parents=True)
        for mask in (target / "now").glob("*.nii.gz"):
            shutil.copy(mask, kept)


def scores(data: DatasetFolder, folder: Path, cases: Sequence[str], names: dict[int, str]) -> list[tuple]:
    """(case, organ, Dice) of masks."""
    load, found = LoadScan(as_label=True), []
    for case in cases:
        truth = load(data.cases[case].label, data.cases[case].image)[0].numpy()
        mask = load(folder / f"{case}.nii.gz", data.cases[case].image)[0].numpy()
        found += [(case, name, strict_dice(mask == value, truth == value)) for value, name in names.items()]
    return found


def main() -> int:
    """Run; see the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="labelled data set")
    parser.add_argument("--support", default="case_01", help="case of the first labelled scan")
    parser.add_argument("--output", required=True)
    parser.add_argument("--corrections", type=int, default=3)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--seed", type=int, default=0, help="of the rule random")
    parser.add_argument(
        "--may-gain", action="store_true", help="do again only the scans that `correct` chooses, not all"
    )
    parser.add_argument("--replace", choices=("better", "always"), default="better", help="as `correct` takes it")
    parser.add_argument("--phantoms", type=int, help="generate so many synthetic scans in place of DATA")
    parser.add_argument("--set", nargs="+", default=[], help="settings of the atlas")
    args = parser.parse_args()
    out = Path(args.output)
    if args.phantoms and not (out / "data").exists():
        write_phantom_dataset(out / "data", n_cases=args.phantoms, n_folds=1, shape=(64, 64, 22), spacing=(5, 5, 10))
    data = DatasetFolder.read(args.data or out / "data")
    masks = segmented(data, args.support, out, args.set)
    corrected = {rule: corrected_by(rule, data, masks, out, args) for rule in args.rules}
    folder, rows = SegmentedFolder.read(masks), []
    scans = list(folder.scans)
    used = {case for cases in corrected.values() for case in cases}
    for title, left in (
        ("that no rule has corrected", dict.fromkeys(corrected, [case for case in scans if case not in used])),
        (
            "that the rule itself has not corrected",
            {r: [c for c in scans if c not in own] for r, own in corrected.items()},
        ),
    ):
        table = []
        for rule, cases in corrected.items():
            found = [scores(data, out / rule / str(n), left[rule], folder.names) for n in range(len(cases) + 1)]
            minutes = [one["seconds"] and one["seconds"] / 60 for one in rounds_of(out / rule / "now")]
            took = ["", *("" if one is None else f"{one:.2f}" for one in minutes)]
            rows += [(rule, title, n, *score, took[n]) for n, own in enumerate(found) for score in own]
            means = [100 * float(np.nanmean([dice for *_, dice in own])) if own else math.nan for own in found]
            table.append(
                [rule, ", ".join(cases), str(len(left[rule])), *(f"{mean:.2f}" for mean in means), ", ".join(took[1:])]
            )
        head = [
            "rule",
            "corrected",
            "scans",
            *(f"Dice after {n}" for n in range(args.corrections + 1)),
            "minutes a round",
        ]
        print(f"\nDice (%) of the scans {title}\n\n{markdown_table(head, table)}")
    with (out / "corrections.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            [("rule", "scans", "corrections", "case", "organ", "dice", "minutes"), *rows]
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
