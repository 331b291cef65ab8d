"""A process that dies ends the others, which name it; one that ends in order, or is busy, does not."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import support_commands  # noqa: F401 - its fork server has imported everything
import torch
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader

from src.callbacks import rank_watch
from src.callbacks.rank_watch import RankWatch
from src.errors import UserError

pytestmark = pytest.mark.slow

Deed = Callable[[int, Path], None]


class Toy(L.LightningModule):
    """Trains until something happens in its third step."""

    def __init__(self, deed: Deed, folder: Path) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.deed, self.folder = deed, folder

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if batch_idx == 2:
            self.deed(self.global_rank, self.folder)
        return (self.weight * batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def hang() -> None:
    """As in an exchange over NCCL, which does not notice that the other process is gone."""
    time.sleep(300)


def first_dies(rank: int, folder: Path) -> None:
    if rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    hang()


def second_dies(rank: int, folder: Path) -> None:
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    hang()


def second_fails(rank: int, folder: Path) -> None:
    if rank == 1:
        raise ValueError("no such face")
    hang()


def second_dies_with_a_child_left(rank: int, folder: Path) -> None:
    """A worker that was forked must not keep the connection open."""
    if rank == 1:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    hang()


def first_leaves_without_the_other(rank: int, folder: Path) -> None:
    if rank == 0:
        raise SystemExit(0)
    hang()


def all_is_well(rank: int, folder: Path) -> None:
    """One is busy for longer than the silence of a lost host may last."""
    time.sleep(6 * rank)


def _run(rank: int, deed: Deed, folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    rank_watch._GRACE = 2.0
    variables = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in variables.items()})
    with open(folder / f"{rank}.txt", "w") as file:
        os.dup2(file.fileno(), 2)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=4, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=folder, callbacks=[RankWatch(silence=4)],
    )  # fmt: skip
    trainer.fit(Toy(deed, folder), DataLoader(torch.ones(8), batch_size=1))
    distributed.destroy_process_group()


def outcome(deed: Deed, folder: Path) -> tuple[list[int], list[str]]:
    """Exit status and messages of both processes, which have to be gone soon."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_run, args=(rank, deed, folder, port)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
        assert process.exitcode is not None, "a process is left"
    return [process.exitcode for process in processes], [(folder / f"{rank}.txt").read_text() for rank in range(2)]


@pytest.mark.parametrize(("deed", "dead"), [(first_dies, 0), (second_dies, 1), (second_dies_with_a_child_left, 1)])
def test_a_process_is_killed(deed: Deed, dead: int, tmp_path: Path) -> None:
    status, messages = outcome(deed, tmp_path)
    assert status[dead] == -signal.SIGKILL
    assert status[1 - dead] == 1
    assert f"rank {dead} on {socket.gethostname()} (process " in messages[1 - dead]
    assert "has died" in messages[1 - dead]
    assert f"Last checkpoint: {tmp_path}/checkpoints/last.ckpt. Continue with ckpt_path=last" in messages[1 - dead]


def test_a_process_fails(tmp_path: Path) -> None:
    status, messages = outcome(second_fails, tmp_path)
    assert status == [1, 1]
    assert "failed: ValueError: no such face; the other processes end, too" in messages[0]
    assert "rank 0" not in messages[1]


def test_the_first_leaves_and_another_still_waits(tmp_path: Path) -> None:
    status, messages = outcome(first_leaves_without_the_other, tmp_path)
    assert status == [0, 1]
    assert "has ended, and rank 1" in messages[1]


def test_all_end_in_order(tmp_path: Path) -> None:
    status, messages = outcome(all_is_well, tmp_path)
    assert status == [0, 0]
    assert not any("rank" in message for message in messages)


def test_silence_is_not_too_short() -> None:
    with pytest.raises(UserError, match=r"silence=1: expected at least 4 seconds"):
        RankWatch(silence=1)
