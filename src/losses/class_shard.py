"""How the classes of a head are shared out between processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.ops.collectives import process_count, process_rank

__all__ = ["ClassShard", "sample_classes"]

_BLOCK = 1024  # classes that are drawn together


@dataclass(frozen=True)
class ClassShard:
    """A range of classes: rows are split as ``torch.chunk`` and ``Shard(0)`` of a DTensor split them.

    Attributes:
        num_classes: Classes C of all processes.
        rank: Number of the process.
        count: Processes.
    """

    num_classes: int
    rank: int
    count: int

    @classmethod
    def of_this_process(cls, num_classes: int) -> ClassShard:
        """The range of the process that asks."""
        return cls(num_classes, process_rank(), process_count())

    @property
    def start(self) -> int:
        """First class."""
        return min(self.rank * -(-self.num_classes // self.count), self.num_classes)

    @property
    def stop(self) -> int:
        """Class after the last one."""
        return ClassShard(self.num_classes, self.rank + 1, self.count).start

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, rank: int) -> ClassShard:
        """The range of another process."""
        return ClassShard(self.num_classes, rank, self.count)

    def local(self, target: Tensor) -> Tensor:
        """Position of classes int64 [B] in this range, -1 where they are not in it."""
        return torch.where((target >= self.start) & (target < self.stop), target - self.start, -1)

    def draw_centres(self, embedding_size: int, seed: int) -> Tensor:
        """New class centres, float32 [n,D], of standard deviation 0.01; the same for any number of processes."""
        blocks = range(self.start // _BLOCK, -(-self.stop // _BLOCK)) if len(self) else range(0)
        drawn = [_draw_block(embedding_size, seed, block) for block in blocks]
        first = self.start % _BLOCK
        return torch.cat([torch.empty(0, embedding_size), *drawn])[first : first + len(self)]


def _draw_block(embedding_size: int, seed: int, block: int) -> Tensor:
    generator = torch.Generator().manual_seed(mix(seed, block))
    return torch.empty(_BLOCK, embedding_size).normal_(0.0, 0.01, generator=generator)


def mix(*numbers: int) -> int:
    """A seed that depends on each of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def sample_classes(target: Tensor, num_classes: int, rate: float, generator: torch.Generator) -> Tensor:
    """Draw the classes to compare a batch with; its own are always among them.

    An et al. 2022, "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial
    FC", section 3.2.

    Args:
        target: Classes of the batch, int64 [B] in [0, n), or -1.
        num_classes: Number of classes n to choose from.
        rate: Share of them to choose.
        generator: On the device of ``target``.

    Returns:
        ``int(rate * n)`` classes, or those of the batch where these are more; ascending, int64.
    """
    positive = target[target >= 0].unique()
    count = int(rate * num_classes)
    if len(positive) >= count:
        return positive
    scores = torch.rand(num_classes, device=target.device, generator=generator)
    scores[positive] = 2.0
    return scores.topk(count).indices.sort().values
