# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss export`: a method that has been shown its labelled scan, for other programs."""
