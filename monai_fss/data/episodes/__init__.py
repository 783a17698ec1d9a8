# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What few-shot networks are trained on: series of episodes that are functions of their number."""
