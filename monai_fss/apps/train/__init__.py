# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss train`: the workflow, its checks, its folder, and the stages before it."""
