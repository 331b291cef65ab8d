"""Templates whose blocks are stored in random order."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from src.errors import UserError
from src.eval.embedding_matching import PairMatcher
from src.models.suppression.noise import Seeded

__all__ = ["PeMiu"]


class PeMiu(Seeded):
    """PE-MIU (Terhörst et al. 2020): the blocks of a template are shuffled, so that its values have no fixed place.

    To compare two templates, the blocks of one are assigned to those of the other with the least sum of distances.

    Args:
        block_size: Values per block.
        seed: See `Seeded`.

    Raises:
        UserError: A block has less than one value.
    """

    def __init__(self, block_size: int = 32, seed: int = 0) -> None:
        if block_size < 1:
            raise UserError(f"PeMiu: block_size={block_size}: expected at least 1")
        super().__init__(seed)
        self.block_size = block_size

    def check(self, count: int, size: int) -> None:
        """See `Suppressor.check`."""
        if size % self.block_size:
            raise UserError(f"PeMiu: block_size={self.block_size}: expected a divisor of the embeddings' {size} values")

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        blocks = self._blocks(embeddings)
        order = torch.rand(blocks.shape[:2], generator=self.generator(embeddings)).argsort(1)
        return _reorder(blocks, order).flatten(1)

    @property
    def matcher(self) -> PairMatcher:
        """See `Suppressor.matcher`."""
        return PairMatcher(self.compare)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Cosines [P] of templates [P, D], blocks of ``second`` being put beside those of ``first`` they resemble."""
        reference, probe = self._blocks(first), self._blocks(second)
        costs = torch.cdist(reference, probe).numpy()
        order = np.stack([linear_sum_assignment(cost)[1] for cost in costs])
        return functional.cosine_similarity(first, _reorder(probe, torch.from_numpy(order)).flatten(1)).clamp(-1, 1)

    def _blocks(self, templates: Tensor) -> Tensor:
        """[N, D] as [N, blocks, block size]."""
        self.check(*templates.shape)
        return templates.unflatten(1, (-1, self.block_size))


def _reorder(blocks: Tensor, order: Tensor) -> Tensor:
    """Block ``order[n, i]`` becomes block i of row n; [N, B, K] by int64 [N, B]."""
    return blocks.gather(1, order[:, :, None].expand_as(blocks))
