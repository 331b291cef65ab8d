from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, multiprocessing

from src.losses.gender_angular import GenderAngularLoss
from src.losses.heads import NormalizedSoftmaxHead
from src.ops.collectives import gather_over_processes, process_count, sum_over_processes

BATCH, SIZE, CLASSES = 8, 6, 4


def test_one_process_keeps_its_tensor() -> None:
    share = torch.ones(3)
    assert sum_over_processes(share) is share
    assert gather_over_processes(share) is share
    assert process_count() == 1


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    """Specification of the method, section 3.7: the mean over two processes of half a batch each."""
    multiprocessing.spawn(_worker, (tmp_path,), nprocs=2)
    gathered, alone = (
        [torch.load(tmp_path / f"{name}_{rank}.pt", weights_only=True) for rank in (0, 1)]
        for name in ("gathered", "alone")
    )
    expected = _gradients(slice(None), gather=True)
    for name, gradient in expected.items():
        mean = torch.stack([share[name] for share in gathered]).mean(dim=0)
        torch.testing.assert_close(mean, gradient, rtol=1e-9, atol=1e-9)
    mean = torch.stack([share["layer"] for share in alone]).mean(dim=0)
    assert (mean - expected["layer"]).abs().max() > 0.1


def _worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    # Genders are spread unevenly: a process alone would average over other groups.
    half = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    torch.save(_gradients(half, gather=True), folder / f"gathered_{rank}.pt")
    torch.save(_gradients(half, gather=False), folder / f"alone_{rank}.pt")
    distributed.destroy_process_group()


def _gradients(rows: slice, *, gather: bool) -> dict[str, Tensor]:
    """Of a linear privacy layer and of the class centres, for some rows of one batch."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, dtype=torch.float64, generator=generator)
    embedding, weight, centres = F.normalize(draw(BATCH, SIZE)), draw(SIZE, SIZE), draw(CLASSES, SIZE)
    label = torch.arange(BATCH) % CLASSES
    attribute = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    loss = GenderAngularLoss(SIZE, torch.tensor([0, 1, 0, 1]), NormalizedSoftmaxHead, gather=gather).double()
    loss.head.weight.data = centres
    weight.requires_grad_()
    loss((embedding @ weight)[rows], label[rows], attribute[rows]).loss.backward()
    assert weight.grad is not None
    assert loss.head.weight.grad is not None
    return {"layer": weight.grad, "centres": loss.head.weight.grad}
