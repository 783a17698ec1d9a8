# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Self-training: what an atlas teaches of unlabelled scans, and the student beside the atlas."""
