# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an evaluation has found: entries, files, tables, plots, and tests between results."""
