# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Small organs in two stages: regions, the multi-atlas prior, and whole scans."""
