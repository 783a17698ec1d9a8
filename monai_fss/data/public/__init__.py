# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The public sets that the papers are measured on: from a download, made by hand, to a data set folder."""
