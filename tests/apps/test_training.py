"""`train.py`, `eval.py` and `privface faces` as a user types them, on a data set small enough for a test."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support_commands import run_command, succeed, workspace

from src.apps.overrides import CONF

ROOT = CONF.parent
TINY = ("experiment=arcface", "faces=ci32", "benchmark=lfw", "datamodule.num_workers=0", "trainer.log_every_n_steps=1")
TRAINING = (*TINY, "trainer.max_epochs=10", "callbacks.last.every_n_train_steps=4")


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "PRIVFACE_ROOT": str(data), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def type_command(root: Path, script: str, *arguments: str) -> str:
    """Start the interpreter anew, as a terminal does; return what was printed."""
    command = [sys.executable, str(ROOT / script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=environment(root))
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def losses(folder: Path) -> dict[int, str]:
    with open(folder / "metrics.csv", newline="") as file:
        return {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row.get("train/loss")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a finished run, ``runs/whole``."""
    folder = workspace(tmp_path_factory)
    type_command(folder, "train.py", *TRAINING, "name=whole", "logger=[wandb,tensorboard]")
    return folder


@pytest.mark.slow
def test_a_run_writes_its_folder(root: Path) -> None:
    folder = root / "runs" / "whole"
    for name in (".hydra/config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "report/index.html"):
        assert (folder / name).is_file(), name
    assert len(list((folder / "figures").glob("*.png"))) >= 3
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert list(folder.glob("tensorboard/events.out.*"))
    with open(folder / "metrics.csv", newline="") as file:
        columns = csv.DictReader(file).fieldnames or []
    expected = {"train/loss", "train/gradient_norm", "train/embedding_norm", "train/images_per_second", "lr-SGD"}
    assert expected <= set(columns)


@pytest.mark.slow
def test_the_network_learns_faces_it_has_not_seen(root: Path) -> None:
    results = json.loads((root / "runs/whole/results.json").read_text())
    untrained = json.loads((root / "runs/whole/results_untrained.json").read_text())
    accuracy = results["benchmarks"]["lfw"]["accuracy"]
    assert results["schema"] == 1
    assert results["experiment"] == "whole"
    assert Path(results["checkpoint"]).name == "last.ckpt"
    assert untrained["checkpoint"] is None
    assert accuracy >= 0.84
    assert accuracy >= untrained["benchmarks"]["lfw"]["accuracy"] + 0.08


@pytest.mark.slow
def test_evaluation_repeats_the_result_of_training(root: Path) -> None:
    output = type_command(root, "eval.py", *TINY, "name=whole", "ckpt_path=last", "trainer.precision=bf16-mixed")
    assert "lfw" in output
    (folder,) = (root / "runs" / "whole").glob("eval-*")
    evaluated = json.loads((folder / "results.json").read_text())["benchmarks"]
    assert evaluated == json.loads((root / "runs/whole/results.json").read_text())["benchmarks"]
    assert (folder / "report" / "index.html").is_file()


@pytest.mark.slow
def test_a_finished_run_is_not_overwritten(root: Path) -> None:
    result = run_command("train.py", *TRAINING, "name=whole", root=root)
    assert result.returncode == 1
    assert "already holds a finished or interrupted run" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "killed", "continued"),
    [
        (29, "backend=cpu num_workers=2", "backend=cpu num_workers=1"),
        (13, "backend=dali num_workers=1", "backend=cpu num_workers=2"),
    ],
)
def test_killed_and_continued_gives_the_same_weights(root: Path, step: int, killed: str, continued: str) -> None:
    folder = root / "runs" / f"killed-{step}-{killed.replace(' ', '-').replace('=', '-')}"
    arguments = [*TRAINING, f"name={folder.name}", "evaluate_untrained=false"]
    command = [sys.executable, str(ROOT / "train.py"), *arguments, *_of_datamodule(killed)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(root), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ((folder / "metrics.csv").exists() and max(losses(folder), default=0) >= step):
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    succeed(root, "train.py", *arguments, *_of_datamodule(continued), "ckpt_path=last")
    expected, found = weights(root / "runs" / "whole"), weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert losses(folder) == losses(root / "runs" / "whole")


def _of_datamodule(options: str) -> list[str]:
    return [f"datamodule.{option}" for option in options.split()]


@pytest.mark.slow
def test_eigenfaces(root: Path) -> None:
    output = succeed(
        root, "train.py", "experiment=eigenfaces", *TINY[1:], "name=pca", "model.backbone.embedding_size=64"
    )
    assert "last" in output
    results = json.loads((root / "runs/pca/results.json").read_text())
    assert 0.6 < results["benchmarks"]["lfw"]["accuracy"] < 0.9


@pytest.mark.slow
def test_a_missing_benchmark_is_named_before_training(root: Path) -> None:
    result = run_command("train.py", *TINY, "name=missing", "benchmark=[lfw,calfw]", root=root)
    assert result.returncode == 1
    assert "calfw.bin" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (root / "runs/missing/metrics.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("monitor=val/lfw/acc", "val/lfw/accuracy"),
        ("loss.guard=lnear", "guard: expected none, linear or easy, found 'lnear'"),
        ("trainer.precision=bf61", "'bf16-mixed'"),
    ],
)
def test_a_value_that_does_not_exist_lists_the_choices(root: Path, override: str, expected: str) -> None:
    result = run_command("train.py", *TINY, "name=wrong", override, root=root)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert not (root / "runs/wrong/metrics.csv").exists()
