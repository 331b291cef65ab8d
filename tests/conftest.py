"""For all tests."""

from __future__ import annotations

import torch

# Two workers share two cores: a second thread of each would only wait for the first, busily.
torch.set_num_threads(1)
