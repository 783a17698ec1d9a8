# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
PRNet's head and neck CT: task 1 of StructSeg 2019 (https://structseg2019.grand-challenge.org), brain stem and both
parotid glands, in five folds of ten: three train, one validates, one tests (60, 20 and 20 %).

    python prepare_structseg.py --source HaN_OAR --output structseg_han --brain-stem VALUE --right-parotid VALUE \\
        --left-parotid VALUE

The values of the organs stand on the challenge's own page; the files do not name them.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

from monai_fss.data import prepare_structseg, run_script

ORGANS = ("brain_stem", "right_parotid", "left_parotid")
FOLDS = 5


def add_options(parser: ArgumentParser) -> None:
    """The value of each organ."""
    for organ in ORGANS:
        text = "its value in label.nii.gz, 1 to 22"
        parser.add_argument(f"--{organ.replace('_', '-')}", type=int, required=True, metavar="VALUE", help=text)


def prepare(source: str, output: str, **values: int) -> Path:
    """By the values of the command line."""
    return prepare_structseg(source, output, labels={organ: values[organ] for organ in ORGANS}, folds=FOLDS)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare, add_options))
