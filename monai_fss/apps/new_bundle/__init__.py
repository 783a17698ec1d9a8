# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss new-bundle`: the bundle of a new method, made from that of another."""
