# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
From tumours of the liver to tumours of the kidney (Table 4 of the paper): LiTS (https://competitions.codalab.org,
17094) and KiTS19 (https://kits19.grand-challenge.org), unpacked below one folder, as one data set.

    python prepare_lits_kits.py --source downloads --output tumours
    monai-fss evaluate --bundle organnet --data tumours --protocol ep2 --split tumours/split.json --labels 4 \\
        --set window=[-125,275] --output tumours_organnet

OrganNet learns from LiTS, livers and their tumours (--set labels=[2]: tumours alone; the paper does not say which),
and finds the tumours of the last fifth of KiTS by one labelled case. tumours/split_supervised.json has the same queries
for the network that learns from 30 % or all of the other cases of KiTS; the page says how.
"""

import sys
from argparse import ArgumentParser

from monai_fss.data import prepare_lits_kits, run_script


def add_options(parser: ArgumentParser) -> None:
    """Options of this script."""
    text = "believe the segmentations' headers but for the origin"
    parser.add_argument("--ignore-origin", action="store_true", help=text)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_lits_kits, add_options))
