from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from src.callbacks import preemption
from src.callbacks.checkpoint_io import AtomicCheckpointIO
from src.callbacks.loggers import RunCSVLogger
from src.callbacks.preemption import Preemption
from src.callbacks.random_state import RandomState

BATCHES = 4


class Batches:
    """Random batches, the same in every epoch, that a checkpoint knows the position of."""

    def __init__(self) -> None:
        self._done = 0

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[Tensor]:
        if self._done >= BATCHES:
            self._done = 0
        for index in range(self._done, BATCHES):
            self._done += 1
            yield torch.randn(8, 4, generator=torch.Generator().manual_seed(index))

    def state_dict(self) -> dict[str, int]:
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._done = state["done"]


class Method(L.LightningModule):
    """Learns with dropout and momentum; ``during`` is called with the number of each batch while it is learnt from."""

    def __init__(self, is_manual: bool, during: Callable[[int], None] = lambda batch: None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = (nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 1)) for _ in range(2))
        self.automatic_optimization = not is_manual
        self.during = during
        self.batches = 0

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        return [torch.optim.SGD(network.parameters(), 0.1, momentum=0.9) for network in (self.first, self.second)]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor | None:
        if self.automatic_optimization:
            loss = (self.first(batch) + self.second(batch)).square().mean()
            self.during(self.trainer.current_epoch * BATCHES + batch_idx)
            self.log("loss", loss)
            return loss
        optimizers: Any = self.optimizers()
        for network, optimizer in zip((self.first, self.second), optimizers, strict=True):
            optimizer.zero_grad()
            loss = (network(batch) - 1).square().mean()
            self.manual_backward(loss)
            self.during(self.trainer.current_epoch * BATCHES + batch_idx)
            optimizer.step()
        self.log("loss", loss)
        return None

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", self.first(batch).mean())


def fit(folder: Path, module: Method, accumulated: int = 1, ckpt_path: Path | None = None) -> dict[str, Tensor]:
    torch.manual_seed(5)  # of dropout
    step = 0 if ckpt_path is None else torch.load(ckpt_path, weights_only=True)["global_step"]
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        accumulate_grad_batches=accumulated,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Preemption(folder), RandomState()],
        logger=RunCSVLogger(folder, step),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    trainer.fit(module, Batches(), Batches(), ckpt_path=ckpt_path, weights_only=True)
    return module.state_dict()


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def raise_at(batch: int, signum: int) -> Callable[[int], None]:
    """Sends this process a signal in the midst of a batch."""
    return lambda at: signal.raise_signal(signum) if at == batch else None


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals are handled after a run as they were before it."""
    signums = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(signum) for signum in signums]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert [signal.getsignal(signum) for signum in signums] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked


@pytest.mark.parametrize(
    ("is_manual", "accumulated", "batch", "signum"),
    [
        (False, 1, 5, signal.SIGUSR2),
        (False, 1, 7, signal.SIGTERM),  # the last of an epoch: before its validation
        (False, 2, 4, signal.SIGUSR1),  # half of the gradients of a step: the other half first
        (True, 1, 0, signal.SIGUSR2),  # between the optimisers
        (True, 1, 11, signal.SIGTERM),  # the last of all: after its validation
    ],
)
def test_a_run_that_is_told_to_leave_goes_on_as_if_nothing_had_been(
    is_manual: bool, accumulated: int, batch: int, signum: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    expected = fit(tmp_path / "whole", Method(is_manual), accumulated)
    left = tmp_path / "left"
    with pytest.raises(SystemExit) as end:
        fit(left, Method(is_manual, raise_at(batch, signum)), accumulated)
    assert end.value.code == 128 + signum
    if not (left / "last.ckpt").exists():
        assert batch == 11, "other callbacks save the end of an epoch"
        return
    continued = fit(left, Method(is_manual), accumulated, left / "last.ckpt")
    assert all(torch.equal(continued[name], weights) for name, weights in expected.items())
    assert rows(left) == rows(tmp_path / "whole")


class Killed(BaseException):
    """Stands for the end that SLURM makes."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of an array, and a ``scontrol`` that notes what it is asked."""
    log, program = tmp_path / "asked", tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\ntest ! -e {tmp_path}/refuse || {{ echo "not allowed" >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    variables = {"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"}
    variables |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "SLURM_JOB_NAME": "bash"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def sleep(seconds: float) -> None:
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "SLURM can end the process"
        raise Killed

    monkeypatch.setattr(preemption.time, "sleep", sleep)
    return log


@pytest.mark.parametrize(("signum", "asked"), [(signal.SIGUSR1, "requeue 12_1\n"), (signal.SIGTERM, "")])
def test_slurm_is_asked_to_queue_again_only_if_it_did_not_say_end(
    signum: int, asked: str, job: Path, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        fit(tmp_path / "run", Method(False, raise_at(2, signum)))
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 3
    assert (job.read_text() if job.exists() else "") == asked


def test_a_job_that_may_not_be_queued_again_says_so(
    job: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "refuse").touch()
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", Method(False, raise_at(2, signal.SIGUSR2)))
    assert "scontrol requeue 12_1 failed: not allowed." in caplog.text
