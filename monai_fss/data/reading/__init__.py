# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The one reader of scans: from files to volumes, and what is known of them."""
