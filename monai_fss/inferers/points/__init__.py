# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Localisation by scribbles (PRNet): points that are found again, grown, and segmented around."""
