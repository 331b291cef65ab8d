"""What every method that takes gender out of embeddings offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from src.eval.matching import Matcher

__all__ = ["Suppressor"]


class Suppressor(ABC):
    """Takes gender out of embeddings that a frozen network computed.

    The same arguments and the same data give the same templates: what is random is drawn from a seed that is an
    argument.
    """

    per_view = True
    """Whether the embeddings of an image and of its mirror image are transformed one by one and then added. If not,
    the method works on the template made of both."""

    device = torch.device("cpu")
    """Where a method that is a network is trained; embeddings and templates are on the CPU."""

    parameters = 0
    """Learnt numbers that are needed to transform; known after `fit`."""

    def check(self, count: int, size: int) -> None:  # noqa: B027
        """Say, before anything is computed, whether the method can learn from such embeddings.

        Args:
            count: Their number N.
            size: Their length D.

        Raises:
            UserError: It cannot.
        """

    @abstractmethod
    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """Learn from labelled faces.

        Args:
            embeddings: float32 [N, D] of unit length.
            attributes: int64 [N], 0 female, 1 male; both occur.
            labels: int64 [N], identities 0 .. C - 1.

        Raises:
            UserError: The method cannot learn from them.
        """

    @abstractmethod
    def transform(self, embeddings: Tensor) -> Tensor:
        """Templates float32 [N, D'], not normalised, of embeddings float32 [N, D] of unit length."""

    @property
    def matcher(self) -> Matcher | None:
        """What compares templates; None: their cosine."""
        return None
