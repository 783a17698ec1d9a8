# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Abdominal MR for the atlas: the 20 labelled T2-SPIR scans of CHAOS (https://chaos.grand-challenge.org), whole, on
their own grids.

    python prepare_chaos.py --source Train_Sets/MR --output chaos_t2
    monai-fss evaluate --bundle atlas --data chaos_t2 --protocol ep2 --split within --output chaos_atlas
"""

import sys

from monai_fss.data import prepare_chaos, run_script

FOLDS = 5  # of four, in the order of the numbers: the papers', so that figures can be compared

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_chaos, folds=FOLDS))
