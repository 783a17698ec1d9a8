# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One labelled scan and unlabelled ones, laid over one another: DataAug's and LT-Net's side of the registration."""
