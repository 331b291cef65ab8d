from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from PIL import Image

from src.eval.benchmark import BenchmarkScore
from src.eval.figures import accuracy_figure, draw_figures, roc_figure, training_figures
from src.eval.results import Results

METRICS_CSV = """epoch,step,train/loss_step,train/loss_epoch,lr-SGD,val/lfw/accuracy,val/lfw/auc
0,0,4.0,,0.1,,
0,10,2.5,,0.05,,
0,10,,3.2,,0.75,0.8
"""


def test_draws_everything_the_scores_allow(tmp_path: Path, untrained_and_trained: list[Results]) -> None:
    figures = draw_figures(tmp_path, untrained_and_trained)
    names = [figure.path.name for figure in figures]
    assert names == ["roc_lfw.png", "scores_lfw.png", "roc_cfp_fp.png", "scores_cfp_fp.png", "accuracy.png"]
    for figure in figures[:4]:
        with Image.open(figure.path) as image:
            assert image.size == (960, 660)
    with Image.open(figures[-1].path) as image:
        assert image.width == 960
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)


def test_alternative_texts_tell_the_numbers(tmp_path: Path, untrained_and_trained: list[Results]) -> None:
    roc, scores, *_, accuracy = draw_figures(tmp_path, untrained_and_trained)
    final = untrained_and_trained[-1].metrics["lfw"]
    assert f"trained {final['auc']:.4f}" in roc.alt
    assert f"threshold {1 - final['threshold'] / 2:.2f}" in scores.alt
    assert f"trained lfw {100 * final['accuracy']:.2f} %" in accuracy.alt


def test_results_from_a_file_have_no_curves(tmp_path: Path, untrained_and_trained: list[Results]) -> None:
    untrained, trained = untrained_and_trained
    from_file = replace(untrained, scores={n: BenchmarkScore(m) for n, m in untrained.metrics.items()})
    figure = roc_figure(tmp_path / "roc.png", "lfw", [from_file, trained])
    assert "untrained" not in figure.alt
    assert [figure.path.name for figure in draw_figures(tmp_path, [from_file])] == ["accuracy.png"]


def test_accuracy_of_a_single_fold(tmp_path: Path, untrained_and_trained: list[Results]) -> None:
    metrics = {"accuracy": 0.9, "accuracy_std": 0.0, "accuracy_stderr": math.nan}
    row = replace(untrained_and_trained[0], scores={"lfw": BenchmarkScore(metrics)})
    assert "90.00 %" in accuracy_figure(tmp_path / "accuracy.png", [row]).alt


def test_training_curves(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS_CSV)
    accuracy, loss, rate = training_figures(tmp_path, path)
    assert accuracy.alt == "benchmark accuracy over steps: lfw from 0.75 to 0.75."
    assert loss.alt == "loss over steps: training from 4 to 2.5."
    assert rate.alt == "learning rate over steps: SGD from 0.1 to 0.05."
    with Image.open(loss.path) as image:
        assert image.size == (720, 510)


def test_no_training_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,val/lfw/auc\n0,0,0.5\n")
    assert training_figures(tmp_path, path) == []
