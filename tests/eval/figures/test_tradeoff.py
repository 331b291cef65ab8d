from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image
from support_results import gender_score, results

from src.eval.figures import tradeoff
from src.eval.figures.canvas import read_figure
from src.eval.figures.tradeoff import tradeoff_figure
from src.eval.results import Results


def rows(*points: tuple[str, float, float]) -> list[Results]:
    return [results(label, 0.5, scores={"toy": gender_score(1 - 2 * eer, bacc)}) for label, eer, bacc in points]


def test_tells_every_point_and_who_is_not_beaten(tmp_path: Path) -> None:
    compared = rows(
        ("backbone", 0.01, 0.95), ("worse", 0.02, 0.96), ("a", 0.02, 0.6), ("b", 0.02, 0.7), ("c", 0.3, 0.5)
    )
    figure = tradeoff_figure(tmp_path / "a.png", "toy", compared)
    assert read_figure(figure.path) == figure
    assert "backbone 1.00 % and 95.00 %; worse 2.00 % and 96.00 %; a 2.00 % and 60.00 %" in figure.alt
    assert figure.alt.endswith("Not beaten in both: backbone, a, c.")


def test_rows_without_both_numbers_are_left_out(tmp_path: Path) -> None:
    compared = [
        *rows(("a", 0.1, 0.6), ("unknown", 0.1, math.nan)),
        results("elsewhere", 0.5),
        *rows(("last", 0.2, 0.5)),
    ]
    alt = tradeoff_figure(tmp_path / "a.png", "toy", compared).alt
    assert "unknown" not in alt
    assert "elsewhere" not in alt
    assert "last 20.00 % and 50.00 %" in alt


def test_numbers_of_points_that_coincide_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    annotate = tradeoff.Axes.annotate

    def note(axes: tradeoff.Axes, text: str, *args: object, **options: object) -> object:
        written.append(text)
        return annotate(axes, text, *args, **options)

    monkeypatch.setattr(tradeoff.Axes, "annotate", note)
    points = [("a", 0.1, 0.6), ("b", 0.3, 0.9), ("c", 0.1, 0.6), ("d", 0.101, 0.601)]
    tradeoff_figure(tmp_path / "a.png", "toy", rows(*points))
    assert written == ["1, 3, 4", "2"]


def test_of_many_rows_the_front_and_the_first_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(tradeoff.Axes, "annotate", lambda axes, text, *args, **options: written.append(text))
    worse = [(f"worse {n}", 0.2 + n / 100, 0.8) for n in range(15)]
    tradeoff_figure(tmp_path / "a.png", "toy", rows(("backbone", 0.12, 0.9), *worse, ("a", 0.1, 0.6), ("b", 0.3, 0.5)))
    assert written == ["1", "17", "18"]


def test_room_for_many_rows_with_long_names(tmp_path: Path) -> None:
    def height(count: int) -> int:
        compared = rows(*((f"{n} " + "long name " * 9, 0.1 + n / 50, 0.9 - n / 50) for n in range(count)))
        with Image.open(tradeoff_figure(tmp_path / "a.png", "toy", compared).path) as image:
            return image.height

    assert height(13) > height(3) + 250


def test_one_row_alone(tmp_path: Path) -> None:
    figure = tradeoff_figure(tmp_path / "a.png", "toy", rows(("a", 0.0, 0.5)))
    assert figure.alt.endswith("a 0.00 % and 50.00 %. Not beaten in both: a.")
