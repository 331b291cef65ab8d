from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from support_results import Noise, verification_score

from src.eval.figures.canvas import read_figure
from src.eval.figures.pairs import hard_pairs_figure, hard_pairs_path
from src.eval.score import BenchmarkScore, HardPair, ScoreCurves


class Colours(Noise):
    """Red images with even numbers, blue ones with odd numbers."""

    def __getitem__(self, index: int) -> dict:
        image = np.zeros((8, 8, 3), np.uint8)
        image[:, :, 2 * (index % 2)] = 255
        return {"image": image, "index": index}


def test_tells_the_similarities(tmp_path: Path) -> None:
    score = verification_score(0.8)
    figure = hard_pairs_figure(tmp_path, "lfw", "a/last", score, Noise())
    assert figure is not None
    assert figure.path == hard_pairs_path(tmp_path, "lfw", "a/last") == tmp_path / "pairs_lfw_a_last.png"
    assert figure.title == "lfw: hardest pairs (a/last), accepted from similarity 0.40 on"
    similar = ", ".join(f"{pair.score:.2f}" for pair in score.curves.false_matches[:6])
    assert f"Different people, most alike: similarity {similar}." in figure.alt
    assert f"Same person, least alike: similarity {score.curves.false_non_matches[0].score:.2f}, " in figure.alt
    assert read_figure(figure.path) == figure


def test_the_images_of_a_pair_stand_side_by_side(tmp_path: Path) -> None:
    score = BenchmarkScore({}, curves=ScoreCurves(false_matches=[HardPair(0, 1, 0.5)]))
    figure = hard_pairs_figure(tmp_path, "set", "last", score, Colours())
    assert figure is not None
    pixels = np.asarray(Image.open(figure.path).convert("RGB"))
    red = np.flatnonzero((pixels == (255, 0, 0)).all(axis=2).any(axis=0))
    blue = np.flatnonzero((pixels == (0, 0, 255)).all(axis=2).any(axis=0))
    assert len(red) > 50
    assert abs(len(red) - len(blue)) <= 2
    assert red.max() < blue.min() < red.max() + 30


def test_no_pairs_no_figure(tmp_path: Path) -> None:
    assert hard_pairs_figure(tmp_path, "set", "last", BenchmarkScore({}), Noise()) is None
    assert list(tmp_path.iterdir()) == []
