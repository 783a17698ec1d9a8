# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss correct`: edited masks become labels, and the scans that may gain are segmented again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.correct.advice import advice_text, alike_to, expected_order
from monai_fss.apps.correct.checked import checked_masks, write_interval
from monai_fss.apps.correct.edited import check_edited, given_labels
from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.correct.history import LABELS, History
from monai_fss.apps.correct.plan import chosen, expected_minutes, plan_text, reviewed_cases
from monai_fss.apps.correct.rounds import apply_round, decide, segment_again
from monai_fss.apps.correct.table import round_text, write_table
from monai_fss.apps.correct.validation import check_validation, given_validation, scores_of, write_scores
from monai_fss.apps.errors import UsageError
from monai_fss.apps.segment.folder import deciding
from monai_fss.data import ScanError, case_name, reading_once, remove_stale, sha256_of

__all__ = ["add_arguments", "run"]

BETTER, ALWAYS = "better", "always"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("output", metavar="OUT", help="folder that `monai-fss segment` has written")
    parser.add_argument(
        "--label", nargs="+", action="extend", default=[], metavar="CASE=FILE", help="edited masks, of any format"
    )
    parser.add_argument("--label-dir", metavar="DIR", help="folder of edited masks, named by their scans")
    parser.add_argument(
        "--review",
        metavar="FILE",
        help="scans reviewed as bad: the page's review.json, or a text file with one on each line",
    )
    parser.add_argument("--all", action="store_true", help="segment all scans again, not only those that may gain")
    parser.add_argument(
        "--replace",
        choices=(BETTER, ALWAYS),
        default=BETTER,
        help="masks are replaced where their quality is not lower (better, the default), or always",
    )
    parser.add_argument(
        "--validation",
        metavar="CASES=DIR",
        help="scans that are never used as labels, and the folder of their true ones: Dice after each round",
    )
    parser.add_argument("--images", metavar="DIR", help="folder of the scans, where it is another one now")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--overwrite", action="store_true", help="give up a round that was interrupted")
    parser.add_argument("--forget", action="store_true", help="remove the masks that earlier rounds have replaced")


@reading_once(0)
def run(args: argparse.Namespace) -> int:
    """Run the command."""
    folder = SegmentedFolder.read(args.output, args.images)
    _check_method(folder)
    history = History(folder.output, deciding(folder.inputs))
    history.check_scans(folder.contents)
    if args.forget:
        return _forget(history, args)
    truths = given_validation(args.validation, folder) or _kept_validation(history)
    given = given_labels(args.label, args.label_dir, folder)
    request = _request(args, given, truths)
    if history.open is not None and "masks" in history.open:  # all but done
        _finish(folder, history, history.open, truths)
        folder = SegmentedFolder.read(args.output, args.images)
    finished = next((one for one in history.done if one["request"] == request), None)
    if finished is not None:
        print(f"Round {finished['number']} has taken these labels.")
        return _end(folder, history, finished, truths)
    opened = history.open
    if opened is not None and opened["request"] != request:
        if not args.overwrite:
            told = ", ".join(opened["labels"])
            raise UsageError(
                f"{folder.output}: a round with the label(s) of {told} was interrupted. Give the same command to go "
                "on, or --overwrite to give it up."
            )
        opened = None
    entry = opened or _planned(folder, history, args, given, truths)
    if args.dry_run:
        return 0
    if opened is None:
        entry = _begin(folder, history, entry, given, truths)
    entry["failed"] = segment_again(folder, history, entry, resumed=opened is not None)
    entry["checked"] = checked_masks(folder, history, entry["labels"])
    decide(folder, history, entry, args.replace == ALWAYS)
    _finish(folder, history, entry, truths)
    return _end(folder, history, entry, truths)


def _check_method(folder: SegmentedFolder) -> None:
    if not folder.method.needs_support:
        raise UsageError(
            f"{folder.output}: was segmented by {folder.method.bundle}, which has learnt what to segment and takes no "
            "labelled scan. Train it again with the edited masks among its labels."
        )


def _forget(history: History, args: argparse.Namespace) -> int:
    if args.label or args.label_dir:
        raise UsageError("--forget: removes what earlier rounds have kept, and corrects nothing. Leave --label out.")
    print(f"{history.forget() / 1e6:.1f} MB of replaced masks removed from {history.folder}")
    return 0


def _request(args: argparse.Namespace, given: Mapping[str, Path], truths: Mapping[str, Path]) -> dict[str, Any]:
    """What makes a command the same as that which was interrupted."""
    missing = [str(file) for file in given.values() if not file.exists()]
    if missing:
        raise UsageError([f"{file}: does not exist. Check the path." for file in missing])
    if not given:
        raise UsageError(
            "--label, --label-dir: no edited mask is given. Give one, such as --label case_07=edited.nii.gz."
        )
    review = sha256_of(args.review) if args.review and Path(args.review).is_file() else None
    labels = {case: sha256_of(file) for case, file in given.items()}
    more = {"all": args.all, "replace": args.replace, "review": review, "validation": sorted(truths)}
    return {"labels": labels, **more}


def _kept_validation(history: History) -> dict[str, Path]:
    """The validation that an earlier round has named."""
    known: dict[str, str] = next((one["truths"] for one in reversed(history.rounds) if one.get("truths")), {})
    return {case: Path(file) for case, file in known.items()}


def _planned(
    folder: SegmentedFolder,
    history: History,
    args: argparse.Namespace,
    given: Mapping[str, Path],
    truths: Mapping[str, Path],
) -> dict[str, Any]:
    """The round that is to begin, checked and told; nothing is written but what the cache keeps of scans."""
    bad = reviewed_cases(args.review, folder)
    check_validation(folder, truths, {**history.labels, **given})
    edited = check_edited(folder, given)
    if args.replace == BETTER:
        _check_quality(folder, history)
    labels = sorted({*(one for done in history.done for one in done["labels"]), *given})
    alike = {} if args.all else alike_to(folder, list(given))
    why = chosen(folder, alike, labels, bad, truths, args.all)
    new, seconds = _registered(folder, history, why, len(labels))
    minutes = expected_minutes(list(why), new, seconds)
    print(plan_text(folder, why, [*map(case_name, folder.inputs["support_image"]), *labels], minutes), flush=True)
    return {"edited": edited, "why": why, "request": _request(args, given, truths), "registered": sum(new.values())}


def _check_quality(folder: SegmentedFolder, history: History) -> None:
    if not all(row["quality"] or row["case"] in history.labels for row in folder.rows):
        raise UsageError(
            f"{folder.output}: its masks have no quality, so none is known to be better. Give --replace always."
        )


def _registered(
    folder: SegmentedFolder, history: History, why: Mapping[str, str], labels: int
) -> tuple[dict[str, int], float | None]:
    """Case to the number of labels that are registered to it for the first time, and seconds for each as measured."""
    known, count, seconds = dict.fromkeys(folder.scans, 0), 0, folder.seconds
    for one in history.done:
        count += len(one["labels"])
        known |= dict.fromkeys(one["why"], count)
        if one.get("registered") and one.get("seconds"):
            seconds = one["seconds"] / one["registered"]
    return {case: max(labels - known[case], 0) for case in why}, seconds


def _begin(
    folder: SegmentedFolder,
    history: History,
    planned: Mapping[str, Any],
    given: Mapping[str, Path],
    truths: Mapping[str, Path],
) -> dict[str, Any]:
    history.give_up()
    remove_stale(folder.output)
    number = len(history.rounds) + 1
    if truths and not (folder.output / "validation.csv").exists():
        print(write_scores(folder, number - 1, scores_of(folder, truths)), flush=True)
    places = {one.case: history.place(number, LABELS, f"{one.case}.nii.gz") for one in planned["edited"]}
    for one in planned["edited"]:
        one.save(places[one.case])
    entry = {"number": number, "labels": {case: sha256_of(place) for case, place in places.items()}}
    entry["scans"] = {case: folder.contents[case] for case in places}
    entry |= {key: planned[key] for key in ("why", "request", "registered")}
    entry["truths"] = {case: str(file.absolute()) for case, file in truths.items()}
    history.rounds.append(entry)
    history.save()
    return entry


def _finish(folder: SegmentedFolder, history: History, entry: dict[str, Any], truths: Mapping[str, Path]) -> None:
    apply_round(folder, history, entry)
    write_table(folder, history, entry)
    if truths:
        print(write_scores(folder, entry["number"], scores_of(folder, truths)), flush=True)


def _end(folder: SegmentedFolder, history: History, entry: Mapping[str, Any], truths: Mapping[str, Path]) -> int:
    """Say what has become of the masks, and what to correct next; return the exit code."""
    print(
        f"\n{round_text(entry)}\n\nOld masks: {history.place(entry['number'])}; table: {folder.output / 'correct.csv'}"
    )
    now = SegmentedFolder.read(folder.output, folder.images)
    labelled = history.labels
    print(write_interval(now, history))
    if all(rated is not None for case, rated in now.quality().items() if case not in labelled):
        print(_advice(now, labelled, truths))
    failed = entry.get("failed", {})
    if failed:
        print(f"{len(failed)} scan(s) could not be segmented again:", *failed.values(), sep="\n", file=sys.stderr)
    return 1 if failed else 0


def _advice(folder: SegmentedFolder, labelled: Collection[str], truths: Collection[str]) -> str:
    try:
        return advice_text(expected_order(folder, labelled, truths))
    except ScanError as error:  # the round is done, whatever cannot be said of the next one
        return f"What to correct next is not known: {error}"
