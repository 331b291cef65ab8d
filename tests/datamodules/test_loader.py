from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_source import MemorySource

from src.datamodules.face_dataset import FaceDataset
from src.datamodules.loader import ResumableLoader
from src.datamodules.sample import Sample
from src.datamodules.sampling import IdentityBalanced, Sampling, Shuffled
from src.errors import UserError


class Numbers:
    """A backend that decodes nothing: labels are the rows themselves."""

    def __init__(self, dataset: FaceDataset, broken: tuple[int, ...] = ()) -> None:
        self.dataset = dataset
        self.broken = broken

    def read(self, batches: Iterator[np.ndarray]) -> Iterator[Sample]:
        for rows in batches:
            self.dataset.unreadable |= {row: "broken" for row in rows.tolist() if row in self.broken}
            readable = torch.tensor([row for row in rows.tolist() if row not in self.broken])
            yield Sample(label=readable) if len(readable) else Sample()

    def close(self) -> None:
        pass


def _loader(
    count: int,
    batch: int,
    *,
    seed: int = 0,
    broken: tuple[int, ...] = (),
    max_bad_fraction: float = 0.01,
    images_per_class: int | None = None,
    **options: int,
) -> ResumableLoader:
    source = MemorySource({"image": [b""] * count}, np.arange(count) % max(count // 4, 1))
    dataset = FaceDataset(source, fields=("label",), max_bad_fraction=max_bad_fraction)
    sampling: Sampling = Shuffled(source, batch, seed=seed)
    if images_per_class is not None:
        sampling = IdentityBalanced(source, batch, images_per_class=images_per_class, seed=seed)
    return ResumableLoader(dataset, sampling, Numbers(dataset, broken), **options)


def _take(loader: ResumableLoader, batches: int) -> list[list[int]]:
    return [batch["label"].tolist() for batch in itertools.islice(loader, batches)]


def _run(loader: ResumableLoader, batches: int) -> list[list[int]]:
    """Draw batches through several epochs, as Lightning does: without exhausting the iterators."""
    parts: list[list[int]] = []
    while len(parts) < batches:
        parts += _take(loader, min(len(loader), batches - len(parts)))
    return parts


@settings(deadline=None, max_examples=60)
@given(data=st.data(), batch=st.integers(1, 5), world=st.integers(1, 4), new_world=st.integers(1, 4))
def test_every_sample_once_per_epoch(data: st.DataObject, batch: int, world: int, new_world: int) -> None:
    count = data.draw(st.integers(batch * max(world, new_world), 60))
    loaders = [_loader(count, batch, rank=rank, world_size=world) for rank in range(world)]
    done = data.draw(st.integers(0, len(loaders[0])))
    before = [sample for loader in loaders for part in _take(loader, done) for sample in part]
    states = [loader.state_dict() for loader in loaders]
    assert all(state == states[0] for state in states)

    resumed = [_loader(count, batch, rank=rank, world_size=new_world) for rank in range(new_world)]
    for loader in resumed:
        loader.load_state_dict(states[0])
    # With less than a step left, the next iterator would start the next epoch.
    loaders = resumed if count - len(before) >= batch * new_world else []
    rest = [sample for loader in loaders for part in loader for sample in part["label"].tolist()]
    epoch = before + rest
    assert len(set(epoch)) == len(epoch)
    assert count - len(epoch) < batch * new_world


@pytest.mark.parametrize(("world", "new_world"), [(1, 3), (3, 2), (4, 1)])
def test_identity_balanced_batches_stay_whole_for_any_number_of_ranks(world: int, new_world: int) -> None:
    single = _loader(60, 4, images_per_class=2)
    expected = [sorted(batch) for batch in _take(single, len(single))]
    batches = []
    state, steps = single.state_dict() | {"epoch": 0, "position": 0}, 2
    for size in (world, new_world):
        loaders = [_loader(60, 4, images_per_class=2, rank=rank, world_size=size) for rank in range(size)]
        for loader in loaders:
            loader.load_state_dict(state)
        batches += [sorted(batch) for loader in loaders for batch in _take(loader, steps)]
        state, steps = loaders[0].state_dict(), 60
    assert all(batch in expected for batch in batches)
    assert len({tuple(batch) for batch in batches}) == len(batches)
    assert len(expected) - len(batches) < new_world


@pytest.mark.parametrize("images_per_class", [None, 2])
@pytest.mark.parametrize("done", [1, 3, 4, 5, 8])
def test_resumed_batches_equal_uninterrupted_ones(images_per_class: int | None, done: int) -> None:
    def make() -> ResumableLoader:
        return _loader(19, 4, seed=7, images_per_class=images_per_class)

    full = _run(make(), 12)
    interrupted, resumed = make(), make()
    taken = _run(interrupted, done)
    resumed.load_state_dict(interrupted.state_dict())
    assert taken + _run(resumed, 12 - done) == full


def test_epochs_differ_and_depend_on_the_seed_only() -> None:
    orders = [_take(loader := _loader(32, 8, seed=seed), 4) + _take(loader, 4) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:4] != orders[0][4:]


def test_state_counts_batches_handed_out_and_leaves_the_global_generator_alone() -> None:
    loader = _loader(40, 4)
    torch.manual_seed(3)
    iterator = iter(loader)
    next(iterator)
    assert loader.state_dict()["position"] == 4
    next(iterator)
    assert (loader.state_dict()["position"], loader.step) == (8, 2)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (_loader(41, 4), "dataset"),
        (_loader(40, 5), "batch_size"),
        (_loader(40, 4, seed=1), "seed"),
        (_loader(40, 4, images_per_class=2), "sampling"),
    ],
)
def test_another_run_is_refused(other: ResumableLoader, name: str) -> None:
    with pytest.raises(UserError, match=f"the checkpoint was made with {name}"):
        other.load_state_dict(_loader(40, 4).state_dict())


def test_too_small_a_dataset() -> None:
    with pytest.raises(UserError, match="7 images are fewer than one batch of 4 on each of 2 processes"):
        _loader(7, 4, world_size=2)


def test_unreadable_samples_are_dropped_until_there_are_too_many() -> None:
    loader = _loader(40, 8, broken=(3, 8), max_bad_fraction=0.05)
    assert len([label for batch in loader for label in batch["label"]]) == 38
    with pytest.raises(UserError, match=r"memory: \d of 40 images so far cannot be read.*First: \d+: broken"):
        list(_loader(40, 8, broken=(3, 8, 9)))


def test_a_batch_without_any_readable_image() -> None:
    with pytest.raises(UserError, match="no image of a batch of 8 could be read"):
        next(iter(_loader(40, 8, broken=tuple(range(40)), max_bad_fraction=1.0)))


def test_closing_ends_the_reader_and_keeps_the_position() -> None:
    loader = _loader(40, 4)
    first = _take(loader, 3)
    loader.close()
    assert first + _take(loader, 7) == _take(_loader(40, 4), 10)
