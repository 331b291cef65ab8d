from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support_results import results

from src.eval.figures.curves import cmc_figure, det_figure, open_set_figure, roc_figure
from src.eval.score import BenchmarkScore, ScoreCurves

PERFECT = results("perfect", 1.0, scores={"set": BenchmarkScore({}, curves=ScoreCurves(roc=([0.0, 1.0], [1.0, 1.0])))})
STEPS = results(
    "steps",
    1.0,
    scores={
        "set": BenchmarkScore(
            {"auc": 0.9},
            curves=ScoreCurves(
                roc=([0.0, 0.01, 0.2, 1.0], [0.1, 0.625, 0.9, 1.0]),
                open_set=([0.02, 0.5, 1.0], [0.3, 0.4, 0.5]),
                cmc=[0.4, 0.75, 1.0],
            ),
        )
    },
)


def test_roc(tmp_path: Path) -> None:
    figure = roc_figure(tmp_path / "roc.png", "set", [STEPS, PERFECT, results("other", 0.5)])
    assert figure.alt == (
        "ROC curve of set. True accept rate at a false accept rate of at most 1e-02: steps 62.50 %, perfect 100.00 %."
    )
    assert "set: true accept rate over false accept rate" in figure.title
    with Image.open(figure.path) as image:
        assert image.width == 840


def test_det(tmp_path: Path) -> None:
    figure = det_figure(tmp_path / "det.png", "set", [STEPS, PERFECT])
    assert figure.alt == (
        "DET curve of set. False non-match rate at a false match rate of at most 1e-02: steps 37.50 %, perfect 0.00 %."
    )
    assert figure.path.exists()


def test_rates_reach_down_to_one_impostor(tmp_path: Path) -> None:
    assert "at most 1e-03" in roc_figure(tmp_path / "roc.png", "lfw", [results("a", 0.9)]).alt
    assert "at most 1e-04" in roc_figure(tmp_path / "roc.png", "ijbc", [results("a", 0.9)]).alt


def test_open_set(tmp_path: Path) -> None:
    figure = open_set_figure(tmp_path / "open_set.png", "set", [STEPS])
    assert figure.alt == (
        "Open-set identification on set. True positive identification rate at a false one of at most 1e-01: "
        "steps 30.00 %."
    )


def test_cmc(tmp_path: Path) -> None:
    figure = cmc_figure(tmp_path / "cmc.png", "set", [STEPS, PERFECT])
    assert figure.alt == "Cumulative match characteristic of set. Identification rate at rank 1: steps 40.00 %."


@pytest.mark.parametrize("draw", [roc_figure, det_figure])
def test_a_curve_without_a_corner_between(tmp_path: Path, draw: object) -> None:
    figure = draw(tmp_path / "curve.png", "set", [PERFECT])  # type: ignore[operator]
    assert "at most 1e-01" in figure.alt
