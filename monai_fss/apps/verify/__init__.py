# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss verify`: what the model zoo, MONAI Label and MONAI Deploy ask of a bundle, asked offline."""
