from __future__ import annotations

import io
import random

import numpy as np
import torch

from src.callbacks.random_state import RandomState


def draw() -> tuple[float, float, float]:
    return torch.rand(()).item(), random.random(), float(np.random.rand())  # noqa: NPY002


def test_generators_continue_where_the_checkpoint_left_them() -> None:
    file = io.BytesIO()
    torch.save(RandomState().state_dict(), file)
    expected = [draw() for _ in range(3)]
    draw()

    file.seek(0)
    callback = RandomState()
    callback.load_state_dict(torch.load(file, weights_only=True))
    callback.on_train_start(None, None)  # type: ignore[arg-type]
    assert [draw() for _ in range(3)] == expected


def test_a_new_run_keeps_its_seed() -> None:
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    RandomState().on_train_start(None, None)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(()), expected)
