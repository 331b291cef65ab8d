"""In which order training draws images: an epoch's order is a pure function of (seed, epoch)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from src.datamodules.genders import GENDERS
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["ClassBalanced", "GenderBalanced", "IdentityBalanced", "RollingShuffled", "Sampling", "Shuffled"]


class Sampling(ABC):
    """An order of rows for every epoch.

    An epoch has as many samples as the source has rows, less what does not fill a batch on every rank. Ranks
    take turns: with `block` 1 sample by sample, with more block by block.

    Args:
        source: What to draw from.
        batch_size: Samples per batch and rank.
        seed: Of all orders.
    """

    block = 1
    """Samples that stay together in one batch."""

    def __init__(self, source: FaceSource, batch_size: int, *, seed: int = 0) -> None:
        self.source = source
        self.batch_size = batch_size
        self.seed = seed

    @abstractmethod
    def order(self, epoch: int) -> np.ndarray:
        """Rows of the source in the order they are drawn in, int64 [N] or a few less."""

    @property
    def description(self) -> str:
        """What the orders depend on besides source, batch size and seed."""
        return type(self).__name__

    def generator(self, epoch: int) -> np.random.Generator:
        """Random numbers of an epoch."""
        return np.random.default_rng([self.seed, epoch])


class Shuffled(Sampling):
    """Every image once per epoch."""

    def order(self, epoch: int) -> np.ndarray:
        """A permutation of all rows."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.source), generator=generator).numpy()


class RollingShuffled(Sampling):
    """The endless order of StyleGAN2-ADA (Karras et al. 2020, public code).

    One permutation is gone through again and again. Each image, when it was drawn, changes places with one of those
    drawn before it, up to half the permutation back, so that every round differs; an image may come twice in a round.
    """

    def __init__(self, source: FaceSource, batch_size: int, *, seed: int = 0) -> None:
        super().__init__(source, batch_size, seed=seed)
        self._start()

    def order(self, epoch: int) -> np.ndarray:
        """One round; those before it are gone through if they were not."""
        if epoch < self._epoch:
            self._start()
        while self._epoch < epoch:
            self._draw_round()
        return self._drawn

    def _start(self) -> None:
        # NumPy's legacy generator gives the same numbers in every version.
        self._random = np.random.RandomState(self.seed)
        rows = np.arange(len(self.source))
        self._random.shuffle(rows)
        self._rows: list[int] = rows.tolist()
        self._epoch = -1
        self._draw_round()

    def _draw_round(self) -> None:
        rows, count = self._rows, len(self._rows)
        window = round(count * 0.5)
        back = self._random.randint(window, size=count).tolist() if window >= 2 else [0] * count
        drawn = np.empty(count, np.int64)
        for position, distance in enumerate(back):
            drawn[position] = rows[position]
            other = (position - distance) % count
            rows[position], rows[other] = rows[other], rows[position]
        self._epoch += 1
        self._drawn = drawn


class _GroupBalanced(Sampling):
    """Draws with replacement: a group, all equally likely, then an image of it.

    The same as weights N / (images of the group) for every image.
    """

    def __init__(self, source: FaceSource, batch_size: int, groups: np.ndarray, *, seed: int) -> None:
        super().__init__(source, batch_size, seed=seed)
        self._rows, self._starts, self._counts = _rows_by_group(groups)

    def order(self, epoch: int) -> np.ndarray:
        """N draws."""
        generator = self.generator(epoch)
        group = generator.integers(len(self._counts), size=len(self.source))
        return self._rows[self._starts[group] + generator.integers(self._counts[group])]


class ClassBalanced(_GroupBalanced):
    """Every identity equally often, however many images it has; with replacement."""

    def __init__(self, source: FaceSource, batch_size: int, *, seed: int = 0) -> None:
        super().__init__(source, batch_size, source.labels, seed=seed)


class GenderBalanced(_GroupBalanced):
    """As many women as men, counted in images; with replacement. Faces of unknown gender are never drawn.

    Raises:
        UserError: The source has no image of one of them.
    """

    def __init__(self, source: FaceSource, batch_size: int, *, seed: int = 0) -> None:
        missing = [name for code, name in enumerate(GENDERS) if not (source.attributes == code).any()]
        if missing:
            raise UserError(
                f"{source.name}: no image is marked {' or '.join(missing)}, so batches cannot be balanced by gender; "
                "choose data with attributes, or another datamodule/sampling"
            )
        super().__init__(source, batch_size, source.attributes, seed=seed)


class IdentityBalanced(Sampling):
    """Batches of P identities with K images each ("P x K"), P = batch_size / K, for losses that compare images.

    The identities of a batch are distinct. All are drawn equally often, and an identity's images in turn,
    in an order of their own for every epoch; an image comes twice in a batch only if its identity has fewer than K.

    Args:
        source: What to draw from; identities with a single image are left out.
        batch_size: Samples per batch and rank.
        images_per_class: K.
        seed: Of all orders.

    Raises:
        UserError: K does not divide the batch size, or there are fewer than P identities with two images.
    """

    def __init__(self, source: FaceSource, batch_size: int, *, images_per_class: int = 4, seed: int = 0) -> None:
        super().__init__(source, batch_size, seed=seed)
        if images_per_class < 2 or batch_size % images_per_class:
            raise UserError(
                f"datamodule.sampling.images_per_class={images_per_class}: expected a divisor of "
                f"datamodule.batch_size={batch_size} of at least 2"
            )
        self.block = batch_size
        self.images_per_class = images_per_class
        self.classes_per_batch = batch_size // images_per_class
        self._eligible = np.flatnonzero(np.bincount(source.labels) > 1)
        if len(self._eligible) < self.classes_per_batch:
            raise UserError(
                f"{source.name}: {len(self._eligible)} identities have two images or more, expected at least "
                f"{self.classes_per_batch} (datamodule.batch_size={batch_size} / images_per_class={images_per_class}); "
                "lower datamodule.batch_size or raise datamodule.sampling.images_per_class"
            )

    @property
    def description(self) -> str:
        """With K."""
        return f"IdentityBalanced(images_per_class={self.images_per_class})"

    def order(self, epoch: int) -> np.ndarray:
        """Whole batches, one after the other."""
        generator = self.generator(epoch)
        labels = self.source.labels
        classes = self._draw_classes(generator)
        # The images of each class in the epoch's own order, class after class.
        rows = np.lexsort((generator.permutation(len(labels)), labels))
        counts = np.bincount(labels)
        starts = np.cumsum(counts) - counts
        first = _occurrence(classes) * self.images_per_class
        turn = (first[:, None] + np.arange(self.images_per_class)) % counts[classes, None]
        return rows[starts[classes, None] + turn].reshape(-1)

    def _draw_classes(self, generator: np.random.Generator) -> np.ndarray:
        """Classes of all batches, int64 [batches * P]: one permutation after the other, each cut to whole batches."""
        wanted = len(self.source) // self.batch_size * self.classes_per_batch
        per_pass = len(self._eligible) // self.classes_per_batch * self.classes_per_batch
        passes = [generator.permutation(self._eligible)[:per_pass] for _ in range(-(-wanted // per_pass))]
        return np.concatenate([*passes, self._eligible[:0]])[:wanted]


def _rows_by_group(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows sorted by group, and for every group that occurs its first position and its length; negative: no group."""
    rows = np.argsort(groups, kind="stable")
    rows = rows[np.searchsorted(groups[rows], 0) :]
    _, starts, counts = np.unique(groups[rows], return_index=True, return_counts=True)
    return rows, starts, counts


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How often each entry occurred before it in the same array."""
    by_value = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[by_value], return_index=True, return_counts=True)
    result = np.empty(len(values), np.int64)
    result[by_value] = np.arange(len(values)) - np.repeat(starts, counts)
    return result
