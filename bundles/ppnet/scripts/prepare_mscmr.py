# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The cardiac set on which Hansen et al. 2022 (ADNet) compare PPNet, whose own paper has photographs: the 35 labelled
bSSFP scans of MS-CMRSeg (https://zmiclab.github.io/projects/mscmrseg19), three classes, five
folds.

    python prepare_mscmr.py --source mscmrseg --output cmr_bssfp
    monai-fss evaluate --bundle ppnet:paper --data cmr_bssfp --protocol ep2 --split paper \\
        --set supervoxel_ml=12.5 --output cmr_ep2

Supervoxels of 12.5 ml are ADNet's 1,000 voxels of this set. Short-axis slices keep their oblique grid; folds of seven
in the order of the numbers.
"""

import sys

from monai_fss.data import prepare_mscmr, run_script

CLASSES = ("LV_myocardium", "LV_blood_pool", "RV")
FOLDS = 5

if __name__ == "__main__":
    sys.exit(run_script(__doc__, prepare_mscmr, organs=CLASSES, folds=FOLDS))
