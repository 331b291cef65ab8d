"""How near synthetic faces come to real people."""

from __future__ import annotations

from pathlib import Path

from src.eval.figures.canvas import read_figure
from src.eval.figures.draw import privacy_figures
from src.eval.results import Results
from src.eval.score import BenchmarkScore, ScoreCurves, ScoreHistogram


def test_nearest_real_person(tmp_path: Path) -> None:
    nearest = ScoreHistogram([0.0, 0.5, 1.0], [1, 3], [3, 1], 0.6)
    privacy = {"breached": 0.125, "membership_auc": 0.75}
    scores = {"people": BenchmarkScore({"eer": 0.1}, curves=ScoreCurves(membership=nearest), privacy=privacy)}
    other = {"people": BenchmarkScore({"eer": 0.1}, privacy={"breached": 0.0})}
    rows = [Results("e", label, None, 1.0, {}, found) for label, found in (("a", scores), ("b", other))]
    (figure,) = privacy_figures(tmp_path, "people", rows)
    assert figure.path.name == "membership_people.png"
    assert read_figure(figure.path) == figure
    assert "a: breached 12.50 %, attacker's AUC 0.750." in figure.alt
    assert "b:" not in figure.alt
