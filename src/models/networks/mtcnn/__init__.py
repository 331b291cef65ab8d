"""MTCNN: faces and their landmarks on photographs, by three networks one behind the other (Zhang et al. 2016)."""

from __future__ import annotations

from src.models.networks.mtcnn.cascade import Faces, Mtcnn

__all__ = ["Faces", "Mtcnn"]
