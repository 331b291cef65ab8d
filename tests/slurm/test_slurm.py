"""Jobs on a real SLURM cluster: a sweep with a job that fails, one that is pre-empted and one that is cancelled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support_commands import workspace

from .conftest import ROOT, Cluster, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TINY = [
    *("experiment=arcface", "faces=ci32", "benchmark=lfw", "datamodule.num_workers=0", "bootstrap=0"),
    *("evaluate_untrained=false", "trainer.check_val_every_n_epoch=1000", "~callbacks.progress_bar"),
]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1"]
PATIENCE = 900


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for runs, with the data of all workspaces."""
    return workspace(tmp_path_factory)


def train(cluster: Cluster, root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a multirun of ``train.py`` as a user does; what it prints goes to ``out`` and ``err`` in ``root``."""
    environment = {**cluster.environment, "PRIVFACE_ROOT": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = [sys.executable, "train.py", "-m", *SLURM, *TINY, *arguments]
    with open(root / "out", "w") as out, open(root / "err", "w") as err:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err, text=True)


def sweep_of(root: Path) -> Path:
    """Folder of the only multirun."""
    (folder,) = (root / "runs" / "arcface").glob("sweep-*")
    return folder


def steps(job: Path) -> int:
    """Rows of metrics that a job has written."""
    path = job / "metrics.csv"
    return len(path.read_text().splitlines()) if path.exists() else 0


def weights(job: Path) -> dict[str, torch.Tensor]:
    return torch.load(job / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def number_of(cluster: Cluster, task: int) -> str:
    """SLURM's number of a job of the only array in the queue."""
    lines = cluster.ask("squeue", "-h", "-r", "-o", "%F_%K").splitlines()
    return next(line for line in lines if line.endswith(f"_{task}"))


def test_a_sweep_ends_in_a_table_and_names_the_job_that_failed(cluster: Cluster, root: Path) -> None:
    sweep = train(cluster, root, "trainer.max_epochs=2", "loss.guard=linear,none,lnear")
    assert sweep.wait(PATIENCE) == 1
    folder = sweep_of(root)
    ranking = json.loads((folder / "sweep.json").read_text())
    assert ranking["metric"] == "val/lfw/accuracy"
    assert {job["settings"]["loss.guard"] for job in ranking["jobs"][:2]} == {"linear", "none"}
    first, second, failed = ranking["jobs"]
    assert first["value"] >= second["value"]
    assert ranking["best"] == first["job"]
    assert failed["value"] is None
    assert failed["failure"] == "guard: expected none, linear or easy, found 'lnear'"
    assert (root / "err").read_text().splitlines()[-1].endswith(failed["failure"])
    assert f"Best by val/lfw/accuracy: guard={first['settings']['loss.guard']}" in (root / "out").read_text()
    for name in ("sweep.csv", "figures/sweep.png", "report/index.html"):
        assert (folder / name).is_file()


def test_a_preempted_job_continues_and_a_cancelled_one_is_reported(cluster: Cluster, root: Path) -> None:
    sweep = train(cluster, root, "trainer.max_epochs=60", "trainer.log_every_n_steps=1,2,4")
    wait_until(lambda: list((root / "runs" / "arcface").glob("sweep-*/0")), "the first job", PATIENCE)
    interrupted, whole, cancelled = (sweep_of(root) / str(number) for number in range(3))
    for number, job in ((0, interrupted), (2, cancelled)):
        wait_until(lambda job=job: steps(job) > 5, f"training of {job}", PATIENCE)
        signals = ["--signal=USR2"] if number == 0 else []
        cluster.ask("scancel", *signals, number_of(cluster, number))
    wait_until(lambda: "Restarts=1" in cluster.ask("scontrol", "-o", "show", "job"), "the requeue", PATIENCE)
    (shown,) = (line for line in cluster.ask("scontrol", "-o", "show", "job").splitlines() if "Restarts=1" in line)
    cluster.ask("scontrol", "update", shown.split()[0], "StartTime=now")  # SLURM waits for two minutes
    assert sweep.wait(PATIENCE) == 1
    log = (interrupted / "train.log").read_text()
    assert "SIGUSR2: saved" in log
    expected, continued = weights(whole), weights(interrupted)
    assert all(torch.equal(continued[name], value) for name, value in expected.items())
    ranking = json.loads((sweep_of(root) / "sweep.json").read_text())
    by_job = {job["job"]: job for job in ranking["jobs"]}
    assert by_job["0"]["metrics"] == by_job["1"]["metrics"]
    assert "CANCELLED" in by_job["2"]["failure"]
    assert not (cancelled / "results.json").exists()
