# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Abdominal CT for small organs in two stages: the 30 labelled scans of BTCV (https://www.synapse.org/Synapse:syn3193805),
whole, with all HU and all 13 organs, in two folds as the paper divides its scans.

    python prepare_btcv.py --source RawData/Training --output btcv_ct
    monai-fss evaluate --bundle small_organ --data btcv_ct --protocol ep2 --split corrected --output btcv_small_organ

The paper's own whole-body MR is not public. The training clips CT to -125..275 HU by itself.
"""

import sys

from monai_fss.data import prepare_btcv, run_script

FOLDS = 2  # of fifteen, in the order of the numbers

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_btcv, folds=FOLDS))
