# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The abdominal MR on which Ding et al. 2023 (CRAPNet) compare SSL-RPNet: the 20 labelled T2-SPIR scans of CHAOS
(https://chaos.grand-challenge.org), four organs, five folds.

    python prepare_chaos.py --source Train_Sets/MR --output chaos_t2
    monai-fss evaluate --bundle rpnet:paper --data chaos_t2 --protocol ep1 \\
        --ep1-rule range --split corrected --output chaos_rpnet
"""

import sys

from monai_fss.data import prepare_chaos, run_script

ORGANS = ("liver", "right_kidney", "left_kidney", "spleen")
FOLDS = 5  # of four, in the order of the numbers

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_chaos, organs=ORGANS, folds=FOLDS))
