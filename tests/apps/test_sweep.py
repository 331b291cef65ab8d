from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from support_commands import run_command, succeed

from src.apps.overrides import check
from src.apps.sweep import FAILURE, SweepReport, run_job
from src.errors import UserError

TYPED = ["experiment=arcface", "seed=1"]
CONFIG = OmegaConf.create({"seed": 1})


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes Hydra believe that a job of a multirun is under way; returns the job's folder."""

    def begin(*of_hydra: str) -> Path:
        config = check("train", [*TYPED, "hydra.mode=MULTIRUN"])
        OmegaConf.set_struct(config, False)
        config.hydra.runtime.output_dir = str(tmp_path)
        config.hydra.overrides.task, config.hydra.overrides.hydra = TYPED, list(of_hydra)
        monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
        HydraConfig.instance().set_config(config)
        return tmp_path

    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "experiment=arcface", "seed=1,2"])
    return begin


def test_a_job_returns_what_its_task_does(job: Callable[..., Path]) -> None:
    folder = job()
    (folder / FAILURE).write_text("of an earlier attempt")
    assert run_job(lambda config: config.seed + 0.5, CONFIG) == 1.5
    assert not (folder / FAILURE).exists()
    assert run_job(lambda config: math.nan, CONFIG) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("no file at data/faces"), "no file at data/faces"),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
    ],
)
def test_a_failure_is_kept_and_does_not_end_the_process(
    error: Exception, expected: str, job: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    def task(config: DictConfig) -> float:
        raise error

    folder = job()
    assert run_job(task, CONFIG) is None
    assert (folder / FAILURE).read_text() == expected
    assert expected in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(error, RuntimeError)


@pytest.mark.parametrize(
    ("of_hydra", "expected"),
    [
        (["hydra.mode=MULTIRUN", "hydra.searchpath=[x]"], [*TYPED, "hydra.searchpath=[x]"]),
        ([], [*TYPED, "hydra.mode=RUN"]),  # the config itself asks for a multirun
    ],
)
def test_further_processes_of_a_job_find_the_job_only(
    of_hydra: list[str], expected: list[str], job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def task(config: DictConfig) -> None:
        seen.update(arguments=list(sys.argv), folder=HydraConfig.get().run.dir)
        os.environ.update(LOCAL_RANK="0", NEW="1")
        os.environ.pop("KEPT")
        raise UserError("after all that")

    folder = job(*of_hydra)
    monkeypatch.setenv("KEPT", "1")
    run_job(task, CONFIG)
    assert seen == {"arguments": ["train.py", *expected], "folder": str(folder)}
    assert sys.argv == ["train.py", "-m", "experiment=arcface", "seed=1,2"]
    assert os.environ["KEPT"] == "1"
    assert not {"LOCAL_RANK", "NEW"} & set(os.environ)


def test_a_sweep_with_a_failed_job_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    with pytest.raises(SystemExit) as end:
        SweepReport().on_multirun_end(config)
    assert end.value.code == 1
    assert "not finished" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_as_a_user_types_it(tmp_path: Path) -> None:
    grid = tmp_path / "conf" / "experiment" / "arcface" / "grid.yaml"
    grid.parent.mkdir(parents=True)
    grid.write_text(
        "# @package _global_\n# Margins of ArcFace.\ndefaults:\n  - /experiment/arcface\nname: grid\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      loss.margin: 0.1,0.3\n      loss.guard: none,linear\n"
    )
    tiny = "faces=ci32 benchmark=lfw datamodule.num_workers=0 trainer.max_epochs=1 bootstrap=0 evaluate_untrained=false"
    result = run_command(
        *("train.py", f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=arcface/grid"),
        *("loss.guard=linear,lnear,none", "loss.margin=0.2", *tiny.split()),
        root=tmp_path,
        environment={"COLUMNS": "100"},
    )
    assert result.returncode == 1, result.stderr[-3000:]
    (folder,) = (tmp_path / "runs" / "grid").glob("sweep-*")
    table = result.stdout[result.stdout.rindex("Headline metrics") :]
    assert "guard=linear" in table
    assert "guard=none" in table
    assert "lnear" not in table
    last = result.stderr.strip().splitlines()[-1]
    assert last == f"guard=lnear ({folder / '1'}): guard: expected none, linear or easy, found 'lnear'"
    assert (folder / "report" / "index.html").is_file()
    assert len((folder / "sweep.csv").read_text().splitlines()) == 4
    assert "loss.guard=none" in (folder / "2" / "report" / "index.html").read_text()


@pytest.mark.slow
def test_a_search_by_optuna_as_a_user_types_it(tmp_path: Path) -> None:
    tiny = "faces=ci32 benchmark=lfw datamodule.num_workers=0 trainer.max_epochs=1 bootstrap=0 evaluate_untrained=false"
    result = run_command(
        *("train.py", "experiment=arcface_search", "hydra.sweeper.n_trials=2", *tiny.split()), root=tmp_path
    )
    assert result.returncode == 0, result.stderr[-3000:]
    (folder,) = (tmp_path / "runs" / "arcface_search").glob("sweep-*")
    ranking = json.loads((folder / "sweep.json").read_text())
    values = [job["value"] for job in ranking["jobs"]]
    assert len(values) == 2
    assert values == sorted(values, reverse=True)
    best = OmegaConf.load(folder / "optimization_results.yaml")
    assert best.best_value == values[0]
    assert {key: str(value) for key, value in best.best_params.items()} == ranking["jobs"][0]["settings"]
    label = f"lr={best.best_params['model.optimizer.lr']:.4g}"
    assert label in result.stdout
    assert label in succeed(tmp_path, "privface", "report", str(folder))
