# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Abdominal CT to learn from one labelled scan and a folder: the 30 labelled scans of BTCV
(https://www.synapse.org/Synapse:syn3193805), whole, with all HU and all 13 organs.

    python prepare_btcv.py --source RawData/Training --output btcv_ct
    monai-fss evaluate --bundle self_training --data btcv_ct --protocol ep2 --split within --transductive

The labels of all scans but one are for the evaluation alone.
"""

import sys

from monai_fss.data import prepare_btcv, run_script

FOLDS = 3

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_btcv, folds=FOLDS))
