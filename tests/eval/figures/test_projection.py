from __future__ import annotations

from pathlib import Path

from PIL import Image
from support_results import gender_score, results, verification_score

from src.eval.figures.canvas import read_figure
from src.eval.figures.projection import projection_figure
from src.eval.results import Results


def rows(*baccs: float) -> list[Results]:
    return [results(f"row {n}", 0.5, scores={"toy": gender_score(0.5, bacc)}) for n, bacc in enumerate(baccs)]


def test_tells_how_far_apart_the_genders_are(tmp_path: Path) -> None:
    figure = projection_figure(tmp_path / "a.png", "toy", rows(0.95, 0.5))
    assert read_figure(figure.path) == figure
    before, after = figure.alt.split("row 1: ")
    assert "row 0: 98 % are on the right side; mean decision -1.87 for women and 1.90 for men" in before
    assert int(after.split()[0]) < 60


def test_of_many_rows_the_first_and_the_last_are_shown(tmp_path: Path) -> None:
    assert projection_figure(tmp_path / "a.png", "toy", rows(0.9, 0.8, 0.7, 0.6)).alt.count("right side") == 4
    alt = projection_figure(tmp_path / "a.png", "toy", rows(*[0.9] * 5)).alt
    assert "row 0:" in alt
    assert "row 4:" in alt
    assert alt.count("right side") == 2


def test_rows_without_points_are_left_out(tmp_path: Path) -> None:
    compared = [results("plain", 0.5, scores={"toy": verification_score(0.5)}), *rows(0.9)]
    figure = projection_figure(tmp_path / "a.png", "toy", compared)
    assert "plain" not in figure.alt
    with Image.open(figure.path) as image:
        assert image.width > image.height
