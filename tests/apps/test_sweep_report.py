from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support_results import results

from src.apps.report import run
from src.apps.sweep import FAILURE
from src.apps.sweep_report import columns_of, is_sweep, read_jobs, report_sweep
from src.errors import UserError
from src.eval.figures.canvas import read_figure
from src.eval.results import Results, write_run_results


def protected(label: str, separation: float, error: float, attack: float) -> Results:
    row = results(label, separation)
    score = row.scores["lfw"]
    return replace(
        row,
        scores={"lfw": replace(score, metrics=score.metrics | {"eer": error}, privacy={"bacc": attack})},
    )


def sweep(folder: Path, jobs: dict[str, list[Results]]) -> Path:
    """Folder of a multirun; jobs by their overrides, numbered, those without results unfinished."""
    folder.mkdir(parents=True)
    (folder / "multirun.yaml").touch()
    for number, (overrides, rows) in enumerate(jobs.items()):
        hydra = folder / str(number) / ".hydra"
        hydra.mkdir(parents=True)
        lines = ["experiment=gender_angular", *overrides.split()]
        (hydra / "overrides.yaml").write_text("".join(f"- {line}\n" for line in lines))
        (hydra / "hydra.yaml").write_text("hydra:\n  job:\n    config_name: train\n")
        if rows:
            write_run_results(folder / str(number), rows)
    return folder


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    backbone = protected("backbone", 0.9, 0.02, 0.95)
    return sweep(
        tmp_path / "sweep",
        {
            "loss.alpha=0 loss.beta=0": [backbone, protected("last", 0.85, 0.03, 0.93)],
            "loss.alpha=20 loss.beta=0": [backbone, protected("last", 0.8, 0.06, 0.60)],
            "loss.alpha=20 loss.beta=1": [backbone, protected("last", 0.7, 0.05, 0.55)],
        },
    )


def test_jobs_are_labelled_by_what_differs_in_their_order(tmp_path: Path) -> None:
    jobs = {f"trainer.max_epochs=3 seed={seed}": [results("last", 0.8)] for seed in range(11)}
    read = read_jobs(sweep(tmp_path / "sweep", jobs))
    assert [job.label for job in read] == [f"seed={seed}" for seed in range(11)]
    assert read[10].swept == {"seed": "10"}


def test_keys_that_end_alike_are_written_whole(tmp_path: Path) -> None:
    jobs = {f"model.optimizer.lr={lr} head.lr=1 model/backbone={lr}": [] for lr in ("a", "b")}
    jobs["model.optimizer.lr=a head.lr=2"] = []
    labels = [job.label for job in read_jobs(sweep(tmp_path / "sweep", jobs))]
    assert labels[0] == "model.optimizer.lr=a head.lr=1 backbone=a"
    assert labels[2] == "model.optimizer.lr=a head.lr=2"


def test_one_table_with_the_front_and_what_all_jobs_protect(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_sweep(finished)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("│")[1].strip(): line for line in lines if line.startswith("│")}
    assert list(rows) == ["backbone", "alpha=0 beta=0", "alpha=20 beta=0", "alpha=20 beta=1"]
    assert ["●" in line for line in rows.values()] == [True, True, False, True]
    page = (finished / "report" / "index.html").read_text()
    assert "alpha=20 beta=1" in page
    assert "4 runs side by side" in page


def test_every_metric_is_in_the_file(finished: Path) -> None:
    report_sweep(finished)
    with open(finished / "sweep.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["job"], line["loss.alpha"], line["loss.beta"]) for line in lines] == [
        ("0", "0", "0"),
        ("1", "20", "0"),
        ("2", "20", "1"),
    ]
    assert [float(line["lfw/bacc"]) for line in lines] == [0.93, 0.60, 0.55]
    assert [float(line["lfw/eer"]) for line in lines] == [0.03, 0.06, 0.05]
    assert [line["lfw/pareto_front"] for line in lines] == ["1", "0", "1"]
    assert all(line["failure"] == "" for line in lines)


def test_failed_jobs_are_named_and_the_others_reported(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "0" / FAILURE).write_text("there is no such [backbone]")
    (finished / "2" / "results.json").unlink()
    assert not report_sweep(finished)
    captured = capsys.readouterr()
    assert "alpha=20 beta=0" in captured.out
    assert "alpha=0" not in captured.out
    assert f"alpha=0 beta=0 ({finished / '0'}): there is no such [backbone]" in captured.err
    assert f"alpha=20 beta=1 ({finished / '2'}): not finished" in captured.err
    with open(finished / "sweep.csv", newline="") as file:
        assert [line["failure"] for line in csv.DictReader(file)] == ["there is no such [backbone]", "", "not finished"]


def test_without_privacy_there_is_no_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = {f"seed={seed}": [results("untrained", 0.1 * seed), results("last", 0.8)] for seed in (1, 2)}
    assert report_sweep(sweep(tmp_path / "sweep", jobs))
    output = capsys.readouterr().out
    assert "Pareto" not in output
    assert "untrained" not in output, "rows that differ between the jobs are left out"


def test_columns_may_be_chosen_of_any_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = {
        f"seed={seed}": [protected("untrained", 0.1, seed / 10, 0.9), protected("last", 0.8, 0.02, 0.5)]
        for seed in (1, 2)
    }
    folder = sweep(tmp_path / "sweep", jobs)
    columns = {"EER": "lfw/eer", "random EER": "untrained: lfw/eer", "guessed": "lfw/bacc", "none": "toy/eer"}
    OmegaConf.save({"hydra": {"callbacks": {"sweep_report": {"columns": columns}}}}, folder / "multirun.yaml")
    assert columns_of(folder) == columns
    assert report_sweep(folder, columns_of(folder))
    cells = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["seed=1", "2.00", "10.00", "50.00", "—"],
        ["seed=2", "2.00", "20.00", "50.00", "—"],
    ]
    with open(folder / "sweep.csv", newline="") as file:
        assert [line["random EER"] for line in csv.DictReader(file)] == ["0.1", "0.2"]


def test_nothing_finished_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path / "sweep", {"seed=1": [], "seed=2": []})
    assert not report_sweep(folder)
    assert "seed=2" in capsys.readouterr().err
    assert not (folder / "sweep.csv").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found no job in it"):
        report_sweep(tmp_path / "empty")


def test_the_report_command_knows_a_multirun(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_sweep(finished)
    assert not is_sweep(finished / "0")
    run([str(finished)], None)
    assert f"Report: {finished / 'report' / 'index.html'}" in capsys.readouterr().out


def test_the_best_by_the_monitored_metric_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = {f"lr={lr}": [results("last", separation)] for lr, separation in ((0.1, 0.3), (0.2, 0.9), (0.3, 0.6))}
    folder = sweep(tmp_path / "sweep", {**jobs, "lr=0.4": []})
    for number in range(4):
        (folder / str(number) / ".hydra" / "config.yaml").write_text("monitor: val/lfw/accuracy\n")
    assert not report_sweep(folder)
    output = capsys.readouterr().out
    labels = [line.split("│")[1].strip() for line in output.splitlines() if line.startswith("│")]
    assert labels[:3] == ["lr=0.2", "lr=0.3", "lr=0.1"]  # further rows are of the columns that did not fit
    assert f"Best by val/lfw/accuracy: lr=0.2 ({folder / '1'})" in output
    ranking = json.loads((folder / "sweep.json").read_text())
    assert (ranking["metric"], ranking["direction"], ranking["best"]) == ("val/lfw/accuracy", "maximize", "1")
    assert [job["job"] for job in ranking["jobs"]] == ["1", "2", "0", "3"]
    assert ranking["jobs"][0]["settings"] == {"lr": "0.2"}
    assert ranking["jobs"][0]["value"] == ranking["jobs"][0]["metrics"]["lfw"]["accuracy"]
    assert ranking["jobs"][0]["metrics"]["lfw"]["tar@1e-3"] is None
    assert (ranking["jobs"][3]["value"], ranking["jobs"][3]["failure"]) == (None, "not finished")
    assert read_figure(folder / "figures" / "sweep.png").title == "val/lfw/accuracy of 3 jobs"
