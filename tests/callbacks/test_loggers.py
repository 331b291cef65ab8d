from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from support_protection import protection_score
from support_results import results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.loggers import RunCSVLogger, log_report, wandb_logger
from src.eval.figures.canvas import Figure, canvas


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


@pytest.fixture
def figures(tmp_path: Path) -> list[Figure]:
    drawn = [Figure(tmp_path / f"{name}.png", f"Title of {name}", name) for name in ("roc_lfw", "accuracy")]
    for figure in drawn:
        with canvas(figure, (1.0, 1.0)):
            pass
    return drawn


def test_wandb_gets_tables_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: list[Figure]) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = wandb_logger(str(tmp_path), "privface", "test", None, [])
    rows = [results("untrained", 0.1), results("last", 0.8, privacy={"gender": {"gap": 0.1}})]
    rows[1].scores["drh"] = protection_score(0.02)
    log_report([logger], rows, figures)
    summary = dict(logger.experiment.summary)
    logger.experiment.finish()
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    tables = {
        re.sub(r"_\d+_\w+\.table\.json", "", path.name): json.loads(path.read_text())
        for path in media.rglob("report/*.table.json")
    }
    metrics = {"metrics_lfw", "metrics_cfp_fp", "metrics_ijbc", "flags_ijbc"}
    assert set(tables) == {"summary", *metrics, "privacy_gender", "protection", "privacy_drh", "leaks_drh"}
    assert tables["leaks_drh"]["data"][1][0] == "templates alone"
    assert tables["summary"]["columns"][1:4] == ["lfw accuracy", "cfp_fp accuracy", "ijbc TAR @ FAR 1e-4"]
    assert [row[:2] for row in tables["summary"]["data"]] == [["untrained", "55.00 ± 1.28"], ["last", "90.00 ± 1.28"]]
    assert len(list(media.rglob("report/*.png"))) == 2
    assert summary["report/roc_lfw"]["captions"] == ["Title of roc_lfw"]


def test_tensorboard_gets_figures(tmp_path: Path, figures: list[Figure]) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="tensorboard", version="")
    log_report([RunCSVLogger(tmp_path), logger], [results("last", 0.8)], figures)
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert sorted(events.Tags()["images"]) == ["report/accuracy", "report/roc_lfw"]
    assert events.Images("report/roc_lfw")[0].width == 150
