# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The MONAI Label app. What is MONAI Label's own lies in `template/`: the package does not need it."""
