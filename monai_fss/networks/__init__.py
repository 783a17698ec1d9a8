# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Networks: the few-shot contract, encoders and one file per method; building blocks."""
