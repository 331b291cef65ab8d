"""The colours of the head, painted layer by layer on its surface."""

from __future__ import annotations

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.head import PaintedHead, paint_head
from src.datamodules.procfaces.albedo.palette import Palette, mix_palette

__all__ = ["Canvas", "PaintedHead", "Palette", "mix_palette", "paint_head"]
