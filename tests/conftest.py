"""For all tests."""

from __future__ import annotations

import torch
from hypothesis import settings

# Two workers share two cores: a second thread of each would only wait for the first, busily.
torch.set_num_threads(1)

# How long an example takes depends on what else the machine does.
settings.register_profile("privface", deadline=None)
settings.load_profile("privface")
