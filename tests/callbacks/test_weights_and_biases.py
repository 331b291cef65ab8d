from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wandb
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from support_password_training import fit, transformer_module
from support_protection import protection_score
from support_results import results
from support_wandb import Segment, read_segments

from src.apps.overrides import check
from src.callbacks.loggers import log_report
from src.callbacks.password_grids import PasswordGrids
from src.callbacks.weights_and_biases import RunWandbLogger
from src.errors import UserError
from src.eval.figures.canvas import Figure, canvas

REPORT = {"summary", "metrics_lfw", "metrics_cfp_fp", "metrics_ijbc", "flags_ijbc", "privacy_gender", "protection",
          "privacy_drh", "leaks_drh"}  # fmt: skip


def run_logger(folder: Path, **options: Any) -> RunWandbLogger:
    arguments: dict[str, Any] = {"project": "privface", "name": "test", "mode": "offline"} | options
    return RunWandbLogger(folder, **arguments)


def train(folder: Path, steps: int, checkpoint: Path | None = None) -> None:
    """A process of a run with a grid at each step, of which two steps in three are left out."""
    logger = run_logger(folder, tags=["tiny"], group="together", media_every_n_steps=3)
    grids = PasswordGrids(folder / "visuals", folder / "figures", every_n_steps=1, faces=2)
    fit(transformer_module(), folder, steps, checkpoint=checkpoint, callbacks=[grids], logger=logger)
    report(logger, folder)
    logger.experiment.finish()


def report(logger: RunWandbLogger, folder: Path) -> None:
    rows = [results("untrained", 0.1), results("last", 0.8, privacy={"gender": {"gap": 0.1}})]
    rows[1].scores["drh"] = protection_score(0.02)
    figure = Figure(folder / "roc_lfw.png", "Title of the curves", "curves")
    with canvas(figure, (1.0, 1.0)):
        pass
    log_report([logger], rows, [figure])


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of eight steps that was interrupted after four."""
    folder = tmp_path_factory.mktemp("run")
    train(folder, 4)
    train(folder, 8, folder / "last.ckpt")
    return folder


@pytest.fixture(scope="module")
def segments(run_folder: Path) -> list[Segment]:
    return read_segments(run_folder)


def test_a_continued_run_continues_its_curves(run_folder: Path, segments: list[Segment]) -> None:
    assert [segment.id for segment in segments] == [(run_folder / "wandb_id.txt").read_text()] * 2
    assert [(segment.group, segment.tags) for segment in segments] == [("together", ["tiny"])] * 2
    steps = [[step for step, _ in segment.curve("G")] for segment in segments]
    assert steps == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(value > 0 for segment in segments for _, value in segment.curve("G"))


def test_grids_are_throttled_and_lie_beside_the_file(run_folder: Path, segments: list[Segment]) -> None:
    grids = [segment.curve("faces") for segment in segments]
    assert [[step for step, _ in logged] for logged in grids] == [[0, 3], [5, 8]]
    folders = sorted(run_folder.glob("wandb/offline-run-*"))
    for folder, logged in zip(folders, grids, strict=True):
        files = [folder / "files" / name for _, images in logged for name in images["filenames"]]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
        assert len(files) == 2


def test_the_tables_of_the_report_can_be_read_back(run_folder: Path, segments: list[Segment]) -> None:
    folder = sorted(run_folder.glob("wandb/offline-run-*"))[-1] / "files"
    logged = {name: value for row in segments[-1].rows for name, value in row.items() if name.startswith("report/")}
    assert logged["report/roc_lfw"]["captions"] == ["Title of the curves"]
    tables = {
        name.removeprefix("report/"): json.loads((folder / value["path"]).read_text())
        for name, value in logged.items()
        if value.get("_type") == "table-file"
    }
    assert set(tables) == REPORT
    assert tables["summary"]["columns"][1:4] == ["lfw accuracy", "cfp_fp accuracy", "ijbc TAR @ FAR 1e-4"]
    assert [row[:2] for row in tables["summary"]["data"]] == [["untrained", "55.00 ± 1.28"], ["last", "90.00 ± 1.28"]]
    assert tables["leaks_drh"]["data"][1][0] == "templates alone"


@pytest.mark.parametrize(("variable", "expected"), [(None, "offline"), ("disabled", "disabled")])
def test_without_a_login_nothing_is_asked_and_nothing_is_sent(
    variable: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert run_logger(tmp_path, mode="auto")._wandb_init["mode"] == expected


def test_a_key_in_the_environment_is_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    assert run_logger(tmp_path, mode="auto")._wandb_init["mode"] == "online"


def test_an_unknown_mode_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger\.wandb\.mode: expected auto, online"):
        run_logger(tmp_path, mode="of-line")


def test_jobs_of_a_multirun_share_a_group_and_tell_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["experiment=arcface", "seed=1", "logger=wandb"]
    config = check("train", [*typed, "hydra.mode=MULTIRUN"])
    OmegaConf.set_struct(config, False)
    config.hydra.sweep.dir, config.hydra.overrides.task = "runs/arcface/sweep-1", typed
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(config)
    logger = run_logger(tmp_path, tags=["mine"])
    assert logger._wandb_init["group"] == "arcface/sweep-1"
    assert logger._wandb_init["tags"] == ["arcface", "seed=1", "logger=wandb", "mine"]
