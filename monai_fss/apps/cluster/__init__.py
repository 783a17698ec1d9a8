# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scans as tasks of Dask (`--dask`): what a worker does, and who hands them out."""
