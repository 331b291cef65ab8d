from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support_protection import protection_score
from support_results import results

from src.eval.figures.canvas import read_figure
from src.eval.figures.draw import privacy_figures
from src.eval.figures.protection import collision_figure, inversion_figure, link_figure, renewal_figure
from src.eval.results import Results
from src.eval.score import BenchmarkScore


def rows(*linked: float) -> list[Results]:
    plain = results("backbone", 0.5, scores={"toy": BenchmarkScore({})})
    scores = [protection_score(value, gradient_cos=value) for value in linked]
    return [plain, *(results(f"row {n}", 0.5, scores={"toy": score}) for n, score in enumerate(scores))]


@pytest.mark.parametrize("draw", [link_figure, renewal_figure, collision_figure, inversion_figure])
def test_keeps_its_texts(tmp_path: Path, draw: object) -> None:
    figure = draw(tmp_path / "a.png", "toy", rows(0.9, 0.02))
    assert read_figure(figure.path) == figure
    assert "row 1" in figure.alt
    assert "backbone" not in figure.alt
    with Image.open(figure.path) as image:
        assert image.width == 840


def test_tells_the_linkability_of_the_last_row(tmp_path: Path) -> None:
    alt = link_figure(tmp_path / "a.png", "toy", rows(0.9, 0.02)).alt
    assert "templates alone 0.020; templates and identifiers 0.020; codes under one table 0.020" in alt
    assert "By chance alone 0.010" in alt


def test_shows_the_score_that_links_best(tmp_path: Path) -> None:
    score = protection_score(0.1)
    assert score.curves.protection is not None
    links = [
        replace(one, d_sys=0.75 if one.score == "relabelled" else 0.1) for one in score.curves.protection.linkability
    ]
    curves = replace(score.curves, protection=replace(score.curves.protection, linkability=links))
    alt = link_figure(tmp_path / "a.png", "toy", [results("a", 0.5, scores={"toy": replace(score, curves=curves)})]).alt
    assert alt.count("0.750") == 3
    assert "0.100" not in alt


def test_compares_rebuilt_embeddings(tmp_path: Path) -> None:
    alt = inversion_figure(tmp_path / "a.png", "toy", rows(0.9, 0.5)).alt
    assert "row 0: nothing: a typical face 0.25, templates alone 0.25, both stores, linear 0.25, both stores, " in alt
    assert "gradient 0.90, both stores of 2 systems 0.25" in alt
    assert "gradient 0.50" in alt.split("row 1: ")[1]


def test_means_of_renewed_scores(tmp_path: Path) -> None:
    alt = renewal_figure(tmp_path / "a.png", "toy", rows(0.5)).alt
    assert "same person 0.12" in alt
    assert "same person, old template 0.12" in alt


def test_all_are_drawn_where_templates_were_attacked(tmp_path: Path) -> None:
    names = [figure.path.name for figure in privacy_figures(tmp_path, "toy", rows(0.5))]
    assert names == ["linking_toy.png", "inversion_toy.png", "renewal_toy.png", "collisions_toy.png"]
    assert privacy_figures(tmp_path, "toy", rows()) == []
