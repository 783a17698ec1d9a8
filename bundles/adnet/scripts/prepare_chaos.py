# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
ADNet's abdominal set: the 20 labelled T2-SPIR scans of CHAOS (https://chaos.grand-challenge.org), four organs, five
folds.

    python prepare_chaos.py --source Train_Sets/MR --output chaos_t2
    monai-fss evaluate --bundle adnet:paper --data chaos_t2 --protocol ep2 --split paper --output chaos_ep2

The paper's cut at the 99.5th percentile, its 1.25 mm and its windows of 256 x 256 pixels are made by the training,
and undone for the masks: the scans stay as they are. Folds of four in the order of the numbers; `--split paper`
takes the index lists of the paper's code, in which neighbouring folds share a scan.
"""

import sys

from monai_fss.data import prepare_chaos, run_script

ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")  # each is segmented by itself
FOLDS = 5

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_chaos, organs=ORGANS, folds=FOLDS))
