"""What figures of anonymised faces tell."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from src.eval.anonymization.flips import FlippedBits
from src.eval.figures.anonymization import flip_figure, success_figure
from src.eval.figures.canvas import read_figure


def test_wrong_bits(tmp_path: Path) -> None:
    similarity = torch.linspace(1, 0, 9).double()[:, None].expand(9, 4)
    single = torch.full((8, 4), 0.5).double()
    single[3] = 0.75
    flipped = FlippedBits(similarity, 1 - similarity, single)
    assert flipped.worst_bit == 3
    figure = read_figure(flip_figure(tmp_path / "bits.png", flipped, 0.4, "last, lfw").path)
    assert "1.000 with none, 0.875 with one, 0.750 with the one that matters least, 0.000 with all" in figure.title


def test_success_by_threshold(tmp_path: Path) -> None:
    similarities = {
        "rec": torch.tensor([0.9, 0.9, 0.9, 0.1]),
        "anon": torch.tensor([0.1, 0.2, 0.3, 0.9]),
        "wrong": torch.zeros(4),
    }
    figure = success_figure(tmp_path / "rates.png", similarities, {"1e-3": math.nan, "accuracy": 0.5}, "last, lfw")
    assert "recovered 75.0 %, anonymised 25.0 %, recovered with a wrong password 0.0 %" in figure.title
    assert "threshold accuracy" in figure.title
