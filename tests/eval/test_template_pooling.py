from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.template_pooling import COMBINATIONS, Combination, TemplateCollector, pool_templates, unit_templates

GOLDEN = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())["ijb_pool"]
ORIGINAL, FLIPPED = np.array(GOLDEN["x"]), np.array(GOLDEN["x_flip"])
TEMPLATE, MEDIUM = np.array(GOLDEN["tid"]), np.array(GOLDEN["mid"])
WEIGHT = np.array(GOLDEN["score"], dtype=np.float32)
COUNT = len(TEMPLATE)


def combination_of(case: dict[str, Any]) -> Combination:
    return Combination(case["keep_norm"], case["det"], case["flip"])


def defined(features: np.ndarray, template: np.ndarray, medium: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The definition, template by template and medium by medium."""
    vectors = []
    for number in np.unique(template):
        mine = template == number
        media = [
            (features[mine & (medium == m)] * weight[mine & (medium == m), None]).mean(axis=0)
            for m in np.unique(medium[mine])
        ]
        total = np.sum(media, axis=0)
        vectors.append(total / np.linalg.norm(total))
    return np.stack(vectors)


def collector(**changes: Any) -> TemplateCollector:
    numbers = np.unique(TEMPLATE, return_inverse=True)[1]
    return TemplateCollector(numbers, MEDIUM, WEIGHT, **changes)


def batch(index: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images of the golden set; -1 is a filler with garbage."""
    rows = np.array(index)
    views = [torch.tensor(view[rows], dtype=torch.float32) for view in (ORIGINAL, FLIPPED)]
    for view in views:
        view[rows < 0] = torch.nan
    return torch.from_numpy(rows), views[0], views[1]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: combination_of(case).name)
def test_golden_templates_in_memory(case: dict[str, Any]) -> None:
    features = ORIGINAL + FLIPPED if case["flip"] else ORIGINAL
    ids, templates = pool_templates(
        features, TEMPLATE, MEDIUM, WEIGHT if case["det"] else None, keep_norm=case["keep_norm"]
    )
    assert ids.tolist() == case["templates"]
    assert templates.dtype == np.float32
    np.testing.assert_allclose(templates, case["features"], rtol=0, atol=1.5e-7)


@given(order=st.permutations(range(COUNT)), cuts=st.lists(st.integers(0, COUNT), max_size=4))
def test_golden_templates_of_a_stream(order: list[int], cuts: list[int]) -> None:
    pooled = collector()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), COUNT], strict=True):
        pooled.add(*batch([*order[start:end], -1]))
    collected = pooled.collect()
    assert sorted(collected) == sorted(combination.name for combination in COMBINATIONS)
    for case in GOLDEN["cases"]:
        templates = unit_templates(collected[combination_of(case).name].numpy())
        np.testing.assert_allclose(templates, case["features"], rtol=0, atol=1.5e-7)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), keep_norm=st.booleans())
def test_random_templates(seed: int, keep_norm: bool) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 700))
    template, medium = rng.integers(100, 100 + count // 3 + 1, count), rng.integers(0, 4, count)
    features, weight = rng.standard_normal((count, 16)).astype(np.float32), rng.uniform(0.1, 1, count)
    _, templates = pool_templates(features, template, medium, weight, keep_norm=keep_norm)
    scaled = features if keep_norm else features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(templates, defined(scaled, template, medium, weight), rtol=0, atol=1e-6)


def test_a_long_video_counts_as_much_as_a_still() -> None:
    video, still = np.tile([1.0, 0.0], (50, 1)), np.array([[0.0, 1.0]])
    _, templates = pool_templates(np.concatenate([video, still]), [3] * 51, [1] * 50 + [2])
    np.testing.assert_allclose(templates, [[2**-0.5, 2**-0.5]], atol=1e-7)


def test_embeddings_of_zeros_stay_zero() -> None:
    for keep_norm in (True, False):
        _, templates = pool_templates(np.zeros((2, 4)), [0, 0], [0, 1], keep_norm=keep_norm)
        assert templates.tolist() == [[0] * 4]


def test_thousands_of_images_in_one_template_stay_exact() -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((20_000, 64)) + 0.1).astype(np.float32)
    medium, weight = np.arange(20_000), rng.uniform(0.1, 1, 20_000).astype(np.float32)
    pooled = TemplateCollector(np.zeros(20_000, int), medium, weight, [Combination(flip=False)])
    pooled.add(torch.arange(20_000), torch.from_numpy(features), None)
    expected = (features.astype(np.float64) * weight[:, None].astype(np.float64)).sum(axis=0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(unit_templates(pooled.collect()["N1D1F0"].numpy())[0], expected, rtol=0, atol=3e-8)


def test_names() -> None:
    assert [combination.name for combination in COMBINATIONS] == [
        "N1D1F1", "N1D1F0", "N1D0F1", "N1D0F0", "N0D1F1", "N0D1F0", "N0D0F1", "N0D0F0",
    ]  # fmt: skip
    assert Combination().name == "N1D1F1"


def test_mirror_images_are_needed_for_flip_only() -> None:
    index, original, _ = batch(list(range(COUNT)))
    pooled = collector(combinations=[Combination(flip=False)])
    pooled.add(index, original, None)
    assert list(pooled.collect()) == ["N1D1F0"]
    with pytest.raises(UserError, match=r"ijb: flip=true needs embeddings of the mirror images"):
        collector(name="ijb").add(index, original, None)


def test_embeddings_that_are_not_finite_are_named() -> None:
    index, original, flipped = batch([4, 7, 2, -1])
    original[1, 2], flipped[2, 0] = torch.inf, torch.nan
    with pytest.raises(UserError, match=r"ijb: embeddings of 1 images of a batch hold NaN or infinity \(images 7\)"):
        collector(name="ijb", combinations=[Combination(flip=False)]).add(index, original, flipped)
    with pytest.raises(UserError, match=r"embeddings of 2 images .*\(images 7, 2\)"):
        collector(combinations=[Combination()]).add(index, original, flipped)


@pytest.mark.parametrize("index", [[], [-1, -1], list(range(COUNT - 1)), [*range(COUNT), 3]])
def test_each_image_is_embedded_once(index: list[int]) -> None:
    pooled = collector(name="ijb")
    if index:
        pooled.add(*batch(index))
    with pytest.raises(UserError, match=rf"ijb: \d+ of {COUNT} images were embedded"):
        pooled.collect()


class RecordedProcess:
    """Keeps what a process shares."""

    def __init__(self) -> None:
        self.shares: list[torch.Tensor] = []

    def rows(self, share: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    def sum(self, share: torch.Tensor) -> torch.Tensor:
        self.shares.append(share)
        return torch.ones_like(share)


def test_shares_of_processes_add_up() -> None:
    alone = collector()
    alone.add(*batch(list(range(COUNT))))
    expected = alone.collect()
    processes = [RecordedProcess() for _ in range(3)]
    for rank, process in enumerate(processes):
        pooled = collector()
        numbers = list(range(rank, COUNT, 3))
        pooled.add(*batch(numbers + [-1] * (5 - len(numbers))))
        pooled.collect(process)
    times_added, *sums = (sum(shares) for shares in zip(*(process.shares for process in processes), strict=True))
    assert (times_added == 1).all()
    for total, combination in zip(sums, COMBINATIONS, strict=True):
        torch.testing.assert_close(total, expected[combination.name], rtol=0, atol=1e-6)


def test_half_precision() -> None:
    index, original, flipped = batch(list(range(COUNT)))
    pooled = collector()
    pooled.add(index, original.bfloat16(), flipped.bfloat16())
    assert pooled.collect()["N1D1F1"].dtype == torch.float32
