from __future__ import annotations

from pathlib import Path

from support_results import results

from src.eval.figures.draw import benchmark_figures, overview_figures
from src.eval.score import BenchmarkScore

ROWS = [results("untrained", 0.1), results("last", 0.8)]


def test_draws_everything_the_curves_allow(tmp_path: Path) -> None:
    names = [figure.path.name for figure in benchmark_figures(tmp_path, "ijbc", ROWS)]
    assert names == ["roc_ijbc.png", "det_ijbc.png", "cmc_ijbc.png", "open_set_ijbc.png", "scores_ijbc.png"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)


def test_pairs_have_no_searches(tmp_path: Path) -> None:
    names = [figure.path.name for figure in benchmark_figures(tmp_path, "lfw", ROWS)]
    assert names == ["roc_lfw.png", "det_lfw.png", "scores_lfw.png"]


def test_the_overview_shows_what_has_an_accuracy(tmp_path: Path) -> None:
    (figure,) = overview_figures(tmp_path, ROWS)
    assert "ijbc" not in figure.alt
    assert "last lfw 90.00 %" in figure.alt


def test_results_of_an_older_version_have_no_curves(tmp_path: Path) -> None:
    row = results("old", 0.5, scores={"a/b": BenchmarkScore({"auc": 0.5})})
    assert benchmark_figures(tmp_path, "a/b", [row, ROWS[1]]) == []
    assert overview_figures(tmp_path, [row]) == []


def test_names_of_benchmarks_never_become_paths(tmp_path: Path) -> None:
    row = results("a", 0.5, scores={"../evil": ROWS[0].scores["lfw"]})
    assert {figure.path.parent for figure in benchmark_figures(tmp_path, "../evil", [row])} == {tmp_path}
