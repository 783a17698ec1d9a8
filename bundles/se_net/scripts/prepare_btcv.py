# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Abdominal CT for SE-Net, as OrganNet's paper compares with it: the 30 labelled scans of BTCV
(https://www.synapse.org/Synapse:syn3193805), whole, with all HU and all 13 organs.

    python prepare_btcv.py --source RawData/Training --output btcv_ct
    monai-fss evaluate --bundle se_net --data btcv_ct --protocol ep1 --ep1-rule paired --split within \\
        --labels 1,2,7,8,11 --groups 1,2,7,8,11 --set window=[-125,275] --output btcv_se_net

The organs to come are spleen, right kidney, stomach, aorta and pancreas (Zhou et al. 2021, section 4.1), the other
eight are learnt from.
"""

import sys

from monai_fss.data import prepare_btcv, run_script

FOLDS = 5  # of six, in the order of the numbers

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_btcv, folds=FOLDS))
