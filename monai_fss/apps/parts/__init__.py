# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A part of the scans for each of several processes: which are its own, its files, and `monai-fss merge`."""
