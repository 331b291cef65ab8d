from __future__ import annotations

import csv
from pathlib import Path

import pytest

from src.callbacks.loggers import RunCSVLogger, wandb_logger


def rows(folder: Path) -> list[tuple[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_a_continued_run_keeps_the_rows_before_its_checkpoint(tmp_path: Path) -> None:
    first = RunCSVLogger(tmp_path)
    for step in range(6):
        first.log_metrics({"loss": step / 10}, step)
    first.save()

    second = RunCSVLogger(tmp_path, first_step=4)
    second.log_metrics({"loss": 0.44}, 4)
    second.log_metrics({"accuracy": 1.0}, 5)
    second.save()
    assert rows(tmp_path) == [("0", "0.0"), ("1", "0.1"), ("2", "0.2"), ("3", "0.3"), ("4", "0.44"), ("5", "")]


def test_wandb_is_offline_without_a_login_and_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    first = wandb_logger(str(tmp_path), "privface", "test", None, ["a"])
    again = wandb_logger(str(tmp_path), "privface", "test", None, ["a"])
    assert first.version == again.version == (tmp_path / "wandb_id.txt").read_text()
