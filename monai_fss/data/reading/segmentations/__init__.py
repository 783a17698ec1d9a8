# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segmentations that are more than a volume of labels: layers of 3D Slicer, DICOM Segmentation objects."""
