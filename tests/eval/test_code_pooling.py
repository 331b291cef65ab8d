from __future__ import annotations

from statistics import multimode

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.datamodules.evaluation_images import FILLER
from src.errors import UserError
from src.eval.code_pooling import CodeTemplateCollector, pool_codes, symbol_mode

TEMPLATE = np.random.default_rng(0).permutation(np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))


def random_codes(m: int = 20, q: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, q, (len(TEMPLATE), m), generator=generator, dtype=torch.uint8)


def collect(collector: CodeTemplateCollector, codes: torch.Tensor, flipped: torch.Tensor | None) -> torch.Tensor:
    for index in torch.randperm(len(codes), generator=torch.Generator().manual_seed(1)).split(9):
        collector.add(index, codes[index], None if flipped is None else flipped[index])
    return collector.collect()["codes"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_the_mode_is_the_lower_median_of_the_most_frequent(symbols: list[int]) -> None:
    most_frequent = sorted(multimode(symbols))
    counts = np.bincount(symbols, minlength=8)
    assert symbol_mode(counts) == most_frequent[(len(most_frequent) - 1) // 2]
    assert symbol_mode(counts.astype(np.uint8)) == symbol_mode(counts)


def test_pools_every_position_by_itself() -> None:
    codes = np.array([[0, 5, 1], [0, 6, 2], [7, 7, 2], [3, 3, 3]], np.uint8)
    ids, pooled = pool_codes(codes, [9, 9, 9, 4], 8)
    assert ids.tolist() == [4, 9]
    assert pooled.tolist() == [[3, 3, 3], [0, 6, 2]]
    assert pooled.dtype == np.uint8


@pytest.mark.parametrize("q", [2, 8, 256])
def test_streaming_gives_the_same(q: int) -> None:
    codes = random_codes(q=q)
    pooled = collect(CodeTemplateCollector(TEMPLATE, q, flip=False), codes, None)
    assert np.array_equal(pooled.numpy(), pool_codes(codes.numpy(), TEMPLATE, q)[1])
    mirrored = random_codes(q=q, seed=1)
    both = collect(CodeTemplateCollector(TEMPLATE, q), codes, mirrored)
    assert np.array_equal(both.numpy(), pool_codes(torch.cat([codes, mirrored], dim=1).numpy(), TEMPLATE, q)[1])
    # Mirror images are left alone where they are not wanted.
    assert torch.equal(collect(CodeTemplateCollector(TEMPLATE, q, flip=False), codes, mirrored), pooled)


def test_many_images_of_one_template_are_counted() -> None:
    collector = CodeTemplateCollector(np.zeros(700, int), 4, flip=False)
    codes = torch.tensor([[0, 3]] * 301 + [[1, 2]] * 399, dtype=torch.uint8)
    collector.add(torch.arange(700), codes, None)
    assert collector.collect()["codes"].tolist() == [[1, 2]]


def test_shares_of_processes_are_joined_without_fillers() -> None:
    codes = random_codes()

    class Two:
        """Adds what another process has counted of the odd images."""

        def __init__(self) -> None:
            self.other = CodeTemplateCollector(TEMPLATE, 8, flip=False)
            self.other.add(torch.arange(1, len(codes), 2), codes[1::2], None)
            self.shares = [torch.from_numpy(self.other._times_added), torch.from_numpy(self.other._counts.astype(int))]  # type: ignore[union-attr]

        def rows(self, share: torch.Tensor) -> torch.Tensor:
            raise AssertionError("nothing is concatenated")

        def sum(self, share: torch.Tensor) -> torch.Tensor:
            return share + self.shares.pop(0)

    collector = CodeTemplateCollector(TEMPLATE, 8, flip=False)
    collector.add(torch.arange(0, len(codes), 2), codes[0::2], None)
    collector.add(torch.tensor([FILLER]), codes[:1], None)
    assert np.array_equal(collector.collect(Two())["codes"].numpy(), pool_codes(codes.numpy(), TEMPLATE, 8)[1])


def test_refuses_what_is_missing_or_no_code() -> None:
    collector = CodeTemplateCollector(TEMPLATE, 4, name="toy")
    with pytest.raises(UserError, match="toy: 0 of 78 images were embedded"):
        collector.collect()
    with pytest.raises(UserError, match="toy: flip=true needs codes of the mirror images"):
        collector.add(torch.arange(1), torch.zeros(1, 3).byte(), None)
    with pytest.raises(UserError, match=r"toy: expected codes of uint8 with values below 4, found torch.uint8 up to 7"):
        collector.add(torch.arange(78), random_codes(), random_codes())
    collector.add(torch.arange(1), torch.zeros(1, 3).byte(), torch.zeros(1, 3).byte())
    with pytest.raises(UserError, match="toy: 1 of 78 images were embedded"):
        collector.collect()
