# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks for the programs that people draw in: names, colours and codes of organs, and the files that carry them."""
