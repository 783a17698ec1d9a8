# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Methods trained and tested fold by fold: one or several of them, their plan, models, scores and how to go on."""
