"""Methods without training that add noise to templates."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor
from torch.nn import functional

from src.errors import UserError
from src.models.suppression.suppressor import Suppressor

__all__ = ["Csn", "Esn", "Seeded"]


class Seeded(Suppressor):
    """A method without training that draws random numbers for every template.

    They are drawn by a generator seeded with a checksum of ``seed`` and all embeddings of the call: the same embeddings
    get the same templates, in whatever order sets are transformed, and different sets are independent.

    Args:
        seed: Another seed draws other numbers.
    """

    per_view = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """There is nothing to learn."""

    def generator(self, embeddings: Tensor) -> torch.Generator:
        """Random numbers for the templates of ``embeddings``."""
        return torch.Generator().manual_seed(zlib.crc32(embeddings.numpy().tobytes(), self.seed))


class Csn(Seeded):
    """Cosine-similarity noise: templates whose cosine with the embedding is fixed, at random lengths.

    ``t = L (s v + sqrt(1 - s^2) r)`` with r a random unit vector orthogonal to v.

    Args:
        cosine: s, in [-1, 1].
        max_length: L is a whole number from 1 to this.
        seed: See `Seeded`.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(self, cosine: float = 0.8, max_length: int = 100, seed: int = 0) -> None:
        if not -1 <= cosine <= 1 or max_length < 1:
            raise UserError(
                f"Csn: expected cosine between -1 and 1 and max_length of at least 1; found {cosine} and {max_length}"
            )
        super().__init__(seed)
        self.cosine = cosine
        self.max_length = max_length

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        generator = self.generator(embeddings)
        unit = functional.normalize(embeddings.double())
        noise = torch.randn(unit.shape, generator=generator, dtype=torch.float64)
        orthogonal = functional.normalize(noise - (noise * unit).sum(1, keepdim=True) * unit)
        length = torch.randint(1, self.max_length + 1, (len(unit), 1), generator=generator)
        return (length * (self.cosine * unit + (1 - self.cosine**2) ** 0.5 * orthogonal)).float()


class Esn(Seeded):
    """Euclidean-space noise: templates at a fixed distance from the embedding in a random direction.

    Args:
        distance: Euclidean; embeddings have length 1.
        seed: See `Seeded`.

    Raises:
        UserError: The distance is negative.
    """

    def __init__(self, distance: float = 1.0, seed: int = 0) -> None:
        if distance < 0:
            raise UserError(f"Esn: distance={distance}: expected 0 or more")
        super().__init__(seed)
        self.distance = distance

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        noise = torch.randn(embeddings.shape, generator=self.generator(embeddings), dtype=torch.float64)
        return (embeddings.double() + self.distance * functional.normalize(noise)).float()
