# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The abdominal set on which Hansen et al. 2022 (ADNet) compare CANet, whose own paper has photographs: the 20 labelled
T2-SPIR scans of CHAOS (https://chaos.grand-challenge.org), four organs, five folds.

    python prepare_chaos.py --source Train_Sets/MR --output chaos_t2
    monai-fss evaluate --bundle canet:paper --data chaos_t2 --protocol ep2 --split paper --output chaos_ep2
"""

import sys

from monai_fss.data import prepare_chaos, run_script

ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")  # each is segmented by itself
FOLDS = 5

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_chaos, organs=ORGANS, folds=FOLDS))
