# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss review`: a page to look through the masks of a run, and what was decided on it."""
