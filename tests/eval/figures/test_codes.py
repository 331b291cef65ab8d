from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from src.eval.figures.codes import entropy_figure, hardest_figure, symbol_figure

COUNTS = torch.tensor([[5, 5, 5, 5], [20, 0, 0, 0], [10, 10, 0, 0]])


def test_angles_over_steps(tmp_path: Path) -> None:
    figure = hardest_figure(tmp_path / "a.png", [10, 20, 1000], [30.0, 25.0, 12.34], [28.0, 33.0, 41.0])
    assert figure.alt == (
        "Angles over steps 10 to 1,000: widest to the same person from 30.0° to 12.3°, "
        "narrowest to another person from 28.0° to 41.0°."
    )
    with Image.open(figure.path) as image:
        assert image.size[0] == 720


def test_frequency_of_symbols(tmp_path: Path) -> None:
    figure = symbol_figure(tmp_path / "a.png", COUNTS)
    assert figure.alt == "Shares of the 4 symbols, from 8.3 % to 58.3 %; 25.0 % each would be even."
    assert figure.path.exists()


def test_entropy_of_positions(tmp_path: Path) -> None:
    figure = entropy_figure(tmp_path / "a.png", COUNTS)
    assert figure.alt == "Entropies of 3 positions: lowest 0.00, median 1.00, highest 2.00 of 2 bits."
    assert figure.path.exists()
