# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The abdominal CT on which Ding et al. 2023 (CRAPNet) compare SSL-RPNet: the 30 labelled scans of BTCV
(https://www.synapse.org/Synapse:syn3193805), four of its 13 organs, five folds; intensities and borders as SSL-ALPNet's
public code cuts them.

    python prepare_btcv.py --source RawData/Training --output btcv_ct
    monai-fss evaluate --bundle rpnet:paper --data btcv_ct --protocol ep1 \\
        --ep1-rule range --split corrected --output btcv_rpnet
"""

import sys

from monai_fss.data import prepare_btcv, run_script

ORGANS = ("spleen", "right_kidney", "left_kidney", "liver")
FOLDS = 5  # of six, in the order of the numbers
WINDOW = (-125, 275)  # HU
BORDER = 32  # pixels of 512, at each side

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_btcv, organs=ORGANS, folds=FOLDS, window=WINDOW, border=BORDER))
