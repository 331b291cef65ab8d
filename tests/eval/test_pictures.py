from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from src.eval.figures.canvas import read_figure
from src.eval.pictures import image_grid


def test_images_stand_in_rows(tmp_path: Path) -> None:
    levels = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1)
    figure = image_grid(tmp_path / "grid.png", levels.expand(3, 3, 4, 6), title="t", alt="a", columns=2)
    pixels = np.asarray(Image.open(figure.path))
    assert pixels.shape == (2 * (4 + 2) + 2, 2 * (6 + 2) + 2, 3)
    assert pixels[3, 4].tolist() == [0, 0, 0]
    assert pixels[3, 12].tolist() == [128, 128, 128]
    assert pixels[9, 4].tolist() == [255, 255, 255]
    assert read_figure(figure.path) == figure
