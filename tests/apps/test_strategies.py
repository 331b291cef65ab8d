"""A run of two processes as a user types it, what ends it, and what cannot be spread at all."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support_commands import succeed, workspace

from src.apps.overrides import CONF, check
from src.apps.run import build_trainer
from src.errors import UserError

ROOT = CONF.parent
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
TINY = (
    "experiment=arcface", "faces=ci32", "benchmark=lfw", "datamodule.num_workers=0", "trainer.log_every_n_steps=1",
    "callbacks.last.every_n_train_steps=1", "bootstrap=0", "evaluate_untrained=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workspace(tmp_path_factory)


def start(root: Path, *arguments: str) -> subprocess.Popen:
    """A run in a process group of its own."""
    environment = {**os.environ, "PRIVFACE_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    output = open(root / "output.txt", "w")  # noqa: SIM115 - the process has it
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment, start_new_session=True,
    )  # fmt: skip


def members(group: int) -> dict[int, str]:
    """What belongs to a process group, and its state."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(member) == group and state != "Z":
            found[int(path.parent.name)] = state
    return found


def wait_until(condition, seconds: float) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_of_two_processes_and_its_continuation(root: Path) -> None:
    succeed(root, "train.py", *TINY, *TWO, "trainer.limit_train_batches=2", "trainer.max_epochs=1", "name=two")
    folder = root / "runs" / "two"
    assert [path.name for path in folder.glob("**/results.json")] == ["results.json"]
    assert len(list(folder.glob("**/index.html"))) == 1
    epochs = [*TINY, *TWO, "trainer.limit_train_batches=2", "name=two"]
    succeed(root, "train.py", *epochs, "trainer.max_epochs=2", "ckpt_path=last")
    with open(folder / "metrics.csv", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == [0, 1, 2, 3]
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found by /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run(root: Path, rank: int) -> None:
    folder = root / "runs" / f"killed{rank}"
    process = start(root, *TINY, *TWO, "trainer.max_epochs=1000", f"name={folder.name}")
    last = folder / "checkpoints" / "last.ckpt"
    wait_until(lambda: last.exists() or process.poll() is not None, 280)
    assert process.poll() is None, (root / "output.txt").read_text()[-3000:]
    other = next(pid for pid in members(process.pid) if pid != process.pid)
    os.kill((process.pid, other)[rank], signal.SIGKILL)
    status = process.wait(60)
    wait_until(lambda: not members(process.pid), 60)
    assert status == (1 if rank else -signal.SIGKILL)
    printed = (root / "output.txt").read_text()
    assert f"rank {rank} on {os.uname().nodename} (process {(process.pid, other)[rank]})" in printed
    assert "was killed by signal 9 (SIGKILL)" in printed if rank else "has died" in printed
    assert f"Last checkpoint: {last}. Continue with ckpt_path=last" in printed
    assert torch.load(last, weights_only=True)["global_step"] > 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["experiment=eigenfaces"], "eigenfaces are computed by one process.*trainer.devices=1 trainer.num_nodes=1"),
        (["experiment=gender_angular/compare"], "methods are compared by one process.*found 2 processes"),
        (["experiment=drh", "trainer=fsdp"], "trainer=fsdp: drh trains DRH, and only recognisers .*trainer=ddp"),
        (["experiment=gender_angular", "trainer=fsdp"], "trains GenderAngular"),
        (["experiment=arcbifacegan_procfaces", "trainer=fsdp"], "trains ArcBiFaceGAN"),
        (["experiment=password_transformer_procfaces", "trainer=fsdp"], "trains FaceIdentityTransformer"),
        (["experiment=arcface", "trainer.strategy=fsdp"], "older FSDP.*trainer=fsdp"),
    ],
)
def test_what_cannot_be_spread_says_so_at_once(tmp_path: Path, overrides: list[str], message: str) -> None:
    trainer = ("trainer.accelerator=cpu", "trainer.devices=2", f"paths.output_dir={tmp_path}")
    with pytest.raises(UserError, match=message):
        build_trainer(check("train", [*overrides, *trainer]))


@pytest.mark.parametrize("name", ["auto", "cpu", "ddp", "fsdp"])
def test_recognisers_can_be_spread(tmp_path: Path, name: str) -> None:
    devices = ("trainer.accelerator=cpu", "trainer.devices=8", "trainer.num_nodes=4")
    config = check("train", ["experiment=arcface", f"trainer={name}", *devices, f"paths.output_dir={tmp_path}"])
    assert build_trainer(config).world_size == 32
