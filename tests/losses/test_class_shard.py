from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from src.losses.class_shard import ClassShard, sample_classes


@given(num_classes=st.integers(1, 5000), count=st.integers(1, 9))
def test_ranges_are_those_of_chunk(num_classes: int, count: int) -> None:
    shards = [ClassShard(num_classes, rank, count) for rank in range(count)]
    chunks = torch.arange(num_classes).chunk(count)
    expected = [(int(chunk[0]), len(chunk)) for chunk in chunks]
    assert [(shard.start, len(shard)) for shard in shards if len(shard)] == expected
    assert shards[-1].stop == num_classes
    assert shards[0].of(count - 1) == shards[-1]
    target = torch.arange(num_classes)
    local = torch.stack([shard.local(target) for shard in shards])
    assert ((local >= 0).sum(0) == 1).all()
    start = torch.tensor([shard.start for shard in shards])[:, None]
    assert torch.equal(torch.where(local >= 0, local + start, 0).sum(0), target)


@given(num_classes=st.integers(1, 3000), count=st.integers(1, 5), seed=st.integers(0, 2**40))
def test_centres_are_the_same_for_any_number_of_processes(num_classes: int, count: int, seed: int) -> None:
    shards = [ClassShard(num_classes, rank, count).draw_centres(2, seed) for rank in range(count)]
    assert torch.equal(torch.cat(shards), ClassShard(num_classes, 0, 1).draw_centres(2, seed))


def test_centres_are_drawn_from_a_normal_distribution() -> None:
    centres = ClassShard(5000, 0, 1).draw_centres(8, 0)
    assert abs(float(centres.mean())) < 5e-4
    assert abs(float(centres.std()) - 0.01) < 5e-4
    assert len(centres.unique()) > 39_000


@given(
    num_classes=st.integers(1, 200),
    rate=st.floats(0, 1),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_samples_hold_the_classes_of_the_batch(num_classes: int, rate: float, seed: int, data: st.DataObject) -> None:
    target = torch.tensor(data.draw(st.lists(st.integers(-1, num_classes - 1), max_size=30)), dtype=torch.int64)
    chosen, again = (sample_classes(target, num_classes, rate, torch.Generator().manual_seed(seed)) for _ in range(2))
    positive = set(target.tolist()) - {-1}
    assert positive <= set(chosen.tolist())
    assert len(chosen) == max(int(rate * num_classes), len(positive))
    assert torch.equal(chosen, chosen.unique())  # ascending, each once
    assert torch.equal(chosen, again)
