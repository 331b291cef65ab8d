from __future__ import annotations

import math
from pathlib import Path

from PIL import Image
from support_results import results

from src.eval.figures.scores import accuracy_figure, score_figure
from src.eval.score import BenchmarkScore, ScoreCurves, ScoreHistogram


def test_accuracy_of_several_rows(tmp_path: Path) -> None:
    rows = [results("untrained", 0.1), results("last", 0.8)]
    figure = accuracy_figure(tmp_path / "accuracy.png", ["lfw", "cfp_fp"], rows)
    assert figure.alt == (
        "Verification accuracy: untrained lfw 55.00 %, untrained cfp_fp 54.50 %, last lfw 90.00 %, last cfp_fp 86.00 %."
    )


def test_accuracy_without_folds_or_number(tmp_path: Path) -> None:
    scores = {"old": BenchmarkScore({"accuracy": 0.9}), "broken": BenchmarkScore({"accuracy": math.nan})}
    row = results("a", 0.5, scores=scores)
    figure = accuracy_figure(tmp_path / "accuracy.png", ["old", "broken", "missing"], [row])
    assert figure.alt == "Verification accuracy: a old 90.00 %."


def test_similarities_have_a_panel_for_each_row(tmp_path: Path) -> None:
    histogram = ScoreHistogram([-1.0, 0.0, 1.0], genuine=[1, 3], impostor=[2, 0], threshold=0.125)
    without_threshold = ScoreHistogram([0.0, 1.0], genuine=[1], impostor=[0])
    rows = [
        results(name, 0.5, scores={"set": BenchmarkScore({}, curves=ScoreCurves(histogram=histogram))})
        for name, histogram in (("a", histogram), ("b", without_threshold), ("c", None))
    ]
    figure = score_figure(tmp_path / "scores.png", "set", rows)
    assert figure.alt == (
        "Histograms of similarity on set. a: same person mean 0.25, different people mean -0.50, threshold 0.12. "
        "b: same person mean 0.50, different people mean 0.00."
    )
    with Image.open(figure.path) as image:
        assert image.width == 840
