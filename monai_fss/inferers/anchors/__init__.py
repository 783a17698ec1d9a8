# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labelled scans, registered to a query, as a network's anchors (OrganNet)."""
