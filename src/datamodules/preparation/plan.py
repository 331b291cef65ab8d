"""Which image goes where: the order of a data set and its parts."""

from __future__ import annotations

import numpy as np

from src.errors import UserError

__all__ = ["MAX_SAMPLES_PER_PART", "plan_parts"]

MAX_SAMPLES_PER_PART = 20_000


def plan_parts(labels: np.ndarray, samples_per_part: int, shuffle_seed: int | None) -> list[np.ndarray]:
    """Order a collection and cut it into parts of equal size, the last one smaller.

    Args:
        labels: int [N], class number per row.
        samples_per_part: Rows per part.
        shuffle_seed: Seed of a permutation of all rows, so that any stretch of any part is a mix of classes; None
            keeps the classes together, in the order of their numbers, and the order of rows within each.

    Returns:
        int64 arrays of rows.

    Raises:
        UserError: Unusable size of the parts.
    """
    if not 1 <= samples_per_part <= MAX_SAMPLES_PER_PART:
        raise UserError(f"samples_per_shard: expected 1 to {MAX_SAMPLES_PER_PART}, found {samples_per_part}")
    if shuffle_seed is None:
        order = np.argsort(labels, kind="stable")
    else:
        order = np.random.default_rng(shuffle_seed).permutation(len(labels))
    return np.split(order, np.arange(samples_per_part, len(order), samples_per_part))
