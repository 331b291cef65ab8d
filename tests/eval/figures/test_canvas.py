from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from src.eval.figures.canvas import Figure, canvas, legend_below, read_figure


def test_a_figure_keeps_its_texts(tmp_path: Path) -> None:
    figure = Figure(tmp_path / "a.png", "Züge – 日本", "TAR 98.7 %, ± 0.1")
    style = mpl.rcParams["font.size"]
    with canvas(figure, (2.0, 1.0)):
        assert mpl.rcParams["font.size"] == 12
    assert mpl.rcParams["font.size"] == style
    assert read_figure(figure.path) == figure
    with Image.open(figure.path) as image:
        assert image.size == (300, 150)


def test_a_picture_without_texts(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "b.png")
    assert read_figure(tmp_path / "b.png") == Figure(tmp_path / "b.png", "b", "b")


def test_nothing_is_written_when_drawing_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), canvas(Figure(tmp_path / "c.png", "", "")):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("labels", "columns", "height"),
    [(["a", "b", "c"], 3, 3.0), (["a", "b", "c", "d"], 3, 3.21), (["a" * 20, "b" * 20], 1, 3.21)],
)
def test_a_legend_has_the_columns_that_fit(tmp_path: Path, labels: list[str], columns: int, height: float) -> None:
    with canvas(Figure(tmp_path / "d.png", "", ""), (4.0, 3.0)) as drawing:
        axes = drawing.add_subplot()
        for label in labels:
            axes.plot([0, 1], [0, 1], label=label)
        legend_below(drawing, axes)
        assert drawing.legends[0]._ncols == columns
        assert drawing.get_figheight() == pytest.approx(height)


def test_a_legend_shortens_long_names(tmp_path: Path) -> None:
    with canvas(Figure(tmp_path / "e.png", "", ""), (4.0, 3.0)) as drawing:
        axes = drawing.add_subplot()
        axes.plot([0, 1], [0, 1], label="a" * 40 + "b" * 40)
        legend_below(drawing, axes)
        assert drawing.legends[0].get_texts()[0].get_text() == "a" * 22 + "…" + "b" * 22
