# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss correct`: edited masks become labels, and the scans that may gain are segmented again."""
