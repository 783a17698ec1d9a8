# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The abdominal set of ADNet's 3-D variant: the 20 labelled T2-SPIR scans of CHAOS
(https://chaos.grand-challenge.org), four organs, five folds.

    python prepare_chaos.py --source Train_Sets/MR --output chaos_t2
    monai-fss evaluate --bundle adnet_3d:paper --data chaos_t2 --protocol ep2 --split paper --output chaos_3d

The paper's cut at the 99.5th percentile, its 1.25 mm and its windows of 215 x 215 x 10 voxels are made by the
training: the scans stay as they are, all slices of them.
"""

import sys

from monai_fss.data import prepare_chaos, run_script

ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")
FOLDS = 5  # of four, in the order of the numbers

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_chaos, organs=ORGANS, folds=FOLDS))
