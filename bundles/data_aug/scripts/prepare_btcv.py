# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Abdominal CT for the supervised network: the 30 labelled scans of BTCV (https://www.synapse.org/Synapse:syn3193805),
whole, with all HU and all 13 organs; the larger of OrganNet's two sets.

    python prepare_btcv.py --source RawData/Training --output btcv_ct
    monai-fss evaluate --bundle unet_3d --data btcv_ct --protocol ep2 --split corrected --output btcv_unet_3d

OrganNet tests on 20 % of the scans: one of the five folds. The training clips CT to -125..275 HU by itself.
"""

import sys

from monai_fss.data import prepare_btcv, run_script

FOLDS = 5  # of six, in the order of the numbers

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_btcv, folds=FOLDS))
