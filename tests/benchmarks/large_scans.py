# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Peak memory and CPU seconds of `monai-fss segment` on CT of everyday size, quality and pictures included.

Run: ``PYTHONPATH=tests/fixtures python tests/benchmarks/large_scans.py FOLDER``. It writes synthetic scans
of 512 x 512 x 400 (0.7 x 0.7 x 1.3 mm) to FOLDER, trains ADNet and PRNet for a few steps on small ones (what a model
has learnt changes neither), and prints one line for each of: the atlas with 13 and with 104 organs (``preset=fast``),
ADNet, PRNet. Exit code 1 if a peak, or the seconds of the first, are above the limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from large_scans_fixture import write_ct

LIMITS_GIB = {"atlas-13": 4.0, "atlas-104": 5.0, "adnet-13": 4.0, "prnet-13": 4.0}
CPU_SECONDS = {"atlas-13": 180.0}
SMALL = {"shape": (96, 96, 64), "spacing": (3.7, 3.7, 8.0)}
PRNET = ["steps=2", "steps_per_epoch=1", "pretrain_steps_per_epoch=2", "coarse::steps=2", "fine::steps=2"]
PRNET += ["support=case_1", "tau=-2.0", "least_similarity=0.0", "points=60"]
COMMAND = [sys.executable, "-m", "monai_fss"]


def measured(words: Sequence[str]) -> tuple[float, float]:
    """Run a command to its end; GiB of its highest memory, and its CPU seconds."""
    child = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(words)}: ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 2**20, usage.ru_utime + usage.ru_stime


def scene(folder: Path, organs: int, slices: int) -> list[str]:
    """A labelled scan and a query of full size, made once; the words that name them."""
    query = folder / "query" / "query.nii.gz"
    if not query.exists():
        query.parent.mkdir(parents=True, exist_ok=True)
        shape = (512, 512, slices)
        write_ct(folder / "support.nii.gz", folder / "label.nii.gz", shape, organs=organs, seed=1)
        write_ct(query, None, shape, organs=organs, shift=0.04, seed=2)
    shutil.rmtree(folder / "masks", ignore_errors=True)  # with the registrations that an earlier run has kept there
    return ["--images", str(query.parent), "--output", str(folder / "masks")]


def support(folder: Path) -> list[str]:
    """The words that name the labelled scan."""
    return ["--support-image", str(folder / "support.nii.gz"), "--support-label", str(folder / "label.nii.gz")]


def model(folder: Path, bundle: str, settings: Sequence[str]) -> str:
    """A model of a few steps on small scans of the same organs, trained once."""
    data, run = folder / "small", folder / bundle
    if not data.exists():
        for kind in ("images", "labels"):
            (data / kind).mkdir(parents=True)
        for case in range(1, 4):
            files = (data / kind / f"case_{case}.nii.gz" for kind in ("images", "labels"))
            write_ct(*files, SMALL["shape"], SMALL["spacing"], shift=0.02 * case, seed=case)
    if not (run / "model.pt").exists():
        words = ["train", "--bundle", bundle, "--data", str(data), "--output", str(run), "--overwrite"]
        subprocess.run([*COMMAND, *words, "--set", "val_queries=0", *settings], check=True)
    return str(run / "model.pt")


def words_of(name: str, folder: Path, slices: int) -> list[str]:
    """The command that is measured."""
    method, organs = name.split("-")
    place = folder / f"{organs}_{slices}"
    words = ["segment", *scene(place, int(organs), slices)]
    if method == "atlas":
        return [*words, *support(place), "--set", "preset=fast"]
    if method == "adnet":
        few = ["steps=2", "steps_per_epoch=1", "window=[-125,275]"]
        return [*words, *support(place), "--bundle", method, "--model", model(folder, method, few)]
    return [*words, "--bundle", method, "--model", model(folder, method, [*PRNET, "window=[-125,275]"])]


def main() -> int:
    """Print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the scans and models; 0.5 GB")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=LIMITS_GIB, default=list(LIMITS_GIB))
    arguments = parser.parse_args()
    failed = False
    for name in arguments.only:
        peak, seconds = measured(words_of(name, arguments.folder, arguments.slices))
        bad = peak > LIMITS_GIB[name] or seconds > CPU_SECONDS.get(name, float("inf"))
        failed = failed or bad
        limits = f"limit {LIMITS_GIB[name]:.0f} GiB" + (f", {CPU_SECONDS[name]:.0f} s" if name in CPU_SECONDS else "")
        print(f"{name}: peak {peak:.2f} GiB, {seconds:.0f} CPU s ({limits}){' FAILED' if bad else ''}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
