"""Grids of images for reports and loggers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from src.eval.figures.canvas import Figure, png_text
from src.files import atomic_write

__all__ = ["image_grid"]


def image_grid(path: Path, images: Tensor, *, title: str, alt: str, columns: int = 8) -> Figure:
    """Write images side by side as one PNG file.

    Args:
        path: The file.
        images: float32 [N, 3, H, W] in [-1, 1].
        title: Shown below the picture.
        alt: What it shows, for those who cannot see it.
        columns: Images in a row.
    """
    grid = make_grid(((images + 1) / 2).clamp(0, 1).float().cpu(), nrow=columns, padding=2, pad_value=1.0)
    figure = Figure(path, title, alt)
    with atomic_write(path) as file:
        to_pil_image((grid * 255).round().to(torch.uint8)).save(file, format="PNG", pnginfo=png_text(figure))
    return figure
