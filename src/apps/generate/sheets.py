"""Contact sheets: who was generated, and what the generator does between and around these people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from src.apps.generate.imaging import ImageMaker
from src.datamodules.decode import decode
from src.datamodules.sources.generated_faces import sample_file
from src.eval.pictures import image_grid
from src.models.generation.selection import Shot
from src.models.generation.synthesiser import latent_draws

__all__ = ["contact_sheet", "interpolation_sheet", "truncation_sheet"]

_PEOPLE, _SAMPLES = 16, 8
_TRUNCATIONS = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0)
_ROWS, _STEPS = 4, 8


def contact_sheet(folder: Path, people: int, samples: int) -> Path:
    """Draw a row per person, visible images on the left, near-infrared ones on the right.

    Args:
        folder: The data set.
        people: How many there are; the first ones are shown.
        samples: Images of each.
    """
    people, samples = min(people, _PEOPLE), min(samples, _SAMPLES)
    files = [
        sample_file(person, sample, spectrum)
        for person in range(people)
        for spectrum in ("VIS", "NIR")
        for sample in range(samples)
    ]
    images = torch.stack([decode((folder / file).read_bytes()).movedim(-1, 0) for file in files]) / 127.5 - 1
    title = f"{people} synthetic people"
    alt = f"A row per person: {samples} images in visible light, and the same in the near infrared"
    return image_grid(folder / "contact_sheet.png", images, title=title, alt=alt, columns=2 * samples).path


def truncation_sheet(path: Path, make: ImageMaker, people: Sequence[int]) -> Path:
    """Draw people, two rows for the two spectra of each, at truncations from 0 to 1.

    Args:
        path: The file.
        make: Has the generator.
        people: Numbers of people; the first ones are shown.
    """
    people = people[:_ROWS]
    shots = [Shot(person, 1) for person in people]
    columns = [_pairs(make, make.vectors(people), shots, psi) for psi in _TRUNCATIONS]
    images = torch.stack(columns, dim=2).flatten(0, 2)
    title = f"Truncation {', '.join(f'{psi:g}' for psi in _TRUNCATIONS)}"
    alt = "Two rows per person, visible light and near infrared; from left to right with less truncation"
    return image_grid(path, images, title=title, alt=alt, columns=len(_TRUNCATIONS)).path


def interpolation_sheet(path: Path, make: ImageMaker, people: Sequence[int]) -> Path:
    """Draw paths from one person to the next at the same latent code, then of one person from code to code.

    Args:
        path: The file.
        make: Has the generator.
        people: Numbers of people; the first ones are shown.
    """
    vectors = make.vectors(people[: _ROWS + 1])
    z, noise = latent_draws(make.seed, [Shot(people[0], 1 + i) for i in range(_ROWS + 1)], *_dimensions(make))
    rows = []
    for start, end in pairwise(vectors):
        rows.append(_draw(make, z[:1].expand(_STEPS, -1), _arc(start, end), noise[:1].expand(_STEPS, -1), make.psi))
    for start, end in pairwise(z):
        same = vectors[:1].expand(_STEPS, -1)
        rows.append(_draw(make, _arc(start, end), same, noise[:1].expand(_STEPS, -1), make.psi))
    images = torch.stack(rows).flatten(0, 2)
    title = "From person to person, and of one person from code to code"
    alt = "Two rows per path, visible light and near infrared"
    return image_grid(path, images, title=title, alt=alt, columns=_STEPS).path


def _pairs(make: ImageMaker, vectors: Tensor, shots: Sequence[Shot], psi: float) -> Tensor:
    """Both images of some people, [P, 2, 3, R, R]."""
    z, noise = latent_draws(make.seed, shots, *_dimensions(make))
    return _draw(make, z, vectors, noise, psi).transpose(0, 1)


def _draw(make: ImageMaker, z: Tensor, c: Tensor, noise: Tensor, psi: float) -> Tensor:
    """Visible and near-infrared images, [2, N, 3, R, R]."""
    batches = zip(*(tensor.split(make.batch_size) for tensor in (z, c, noise)), strict=True)
    made = [make.synthesiser(codes, vectors, psi, noises) for codes, vectors, noises in batches]
    visible, infrared = (torch.cat(images) for images in zip(*made, strict=True))
    return torch.stack([visible, infrared.expand_as(visible)])


def _dimensions(make: ImageMaker) -> tuple[int, int]:
    return make.synthesiser.z_dim, make.synthesiser.noise_dim


def _arc(start: Tensor, end: Tensor) -> Tensor:
    """Points [_STEPS, D] on the way between two vectors [D] of about the same length, at constant angles."""
    angle = torch.arccos((F.normalize(start, dim=0) @ F.normalize(end, dim=0)).clamp(-1, 1)).clamp_min(1e-6)
    share = torch.from_numpy(np.linspace(0, 1, _STEPS, dtype=np.float32))[:, None]
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
