# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Abdominal CT for OrganNet: NIH's Pancreas-CT (https://www.cancerimagingarchive.net/collection/pancreas-ct), the 43
scans that have the multi-organ labels of https://zenodo.org/record/1169361, with all eight organs.

    python prepare_pancreas_ct.py --source tcia --output pancreas_ct
    monai-fss evaluate --bundle organnet --data pancreas_ct --protocol ep2 --split within --setting 2 \\
        --labels 1,7,11 --groups 1,7,11 --set window=[-125,275] --output pancreas_organnet

Label values are those of BTCV (prepare_btcv.py). Of the organs to come (section 4.1 of the paper) spleen, stomach and
pancreas are drawn here; the other five organs are learnt from. The paper pools these scans with BTCV's.
"""

import sys
from argparse import ArgumentParser

from monai_fss.data import prepare_pancreas_ct, run_script

FOLDS = 5  # in the order of the numbers: one of them is the 20 % that the paper tests on


def add_options(parser: ArgumentParser) -> None:
    """Options of this script."""
    text = "believe the labels' headers but for the origin, which some converters of the scans move"
    parser.add_argument("--ignore-origin", action="store_true", help=text)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_pancreas_ct, add_options, folds=FOLDS))
