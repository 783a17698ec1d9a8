# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A bundle with a recipe: its files, settings and windows, as every command sees it."""
