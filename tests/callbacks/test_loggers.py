from __future__ import annotations

import csv
from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from support_results import results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.loggers import RunCSVLogger, log_report
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


@pytest.fixture
def figures(tmp_path: Path) -> list[Figure]:
    drawn = [Figure(tmp_path / f"{name}.png", f"Title of {name}", name) for name in ("roc_lfw", "accuracy")]
    for figure in drawn:
        with canvas(figure, (1.0, 1.0)):
            pass
    return drawn


def test_tensorboard_gets_figures(tmp_path: Path, figures: list[Figure]) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="tensorboard", version="")
    log_report([RunCSVLogger(tmp_path), logger], [results("last", 0.8)], figures)
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert sorted(events.Tags()["images"]) == ["report/accuracy", "report/roc_lfw"]
    assert events.Images("report/roc_lfw")[0].width == 150
