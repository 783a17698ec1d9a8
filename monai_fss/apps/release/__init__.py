# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss release`: the bundle of one trained model, as the model zoo takes it."""
