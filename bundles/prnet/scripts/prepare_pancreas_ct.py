# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
PRNet's abdominal CT: Pancreas-CT (https://www.cancerimagingarchive.net/collection/pancreas-ct) with the multi-organ
labels of https://zenodo.org/record/1169361, three organs, in five folds: three train, one validates, one tests (60,
20 and 20 %).

    python prepare_pancreas_ct.py --source tcia --output pancreas_ct

The paper's text calls the kidney "left liver"; its public code tests the label values 1, 3 and 6, so that it is the
left kidney. That code trains on the scans 12 to 38, validates on 2 to 11 and tests on 39 to 48 (23, 10 and 10); the
folds here are in the order of the numbers. Spacing and intensities are made by the training.
"""

import sys
from argparse import ArgumentParser

from monai_fss.data import prepare_pancreas_ct, run_script

ORGANS = ("spleen", "left_kidney", "liver")
FOLDS = 5


def add_options(parser: ArgumentParser) -> None:
    """Options of this script."""
    text = "believe the labels' headers but for the origin, which some converters of the scans move"
    parser.add_argument("--ignore-origin", action="store_true", help=text)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_pancreas_ct, add_options, organs=ORGANS, folds=FOLDS))
