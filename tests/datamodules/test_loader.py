from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.datamodules.decode import BadImage
from src.datamodules.image_dataset import ImageDataset
from src.datamodules.loader import ResumableLoader
from src.datamodules.sample import Sample
from src.errors import UserError


class Numbers(ImageDataset):
    """Samples without images, some of them unreadable."""

    def __init__(self, count: int, unreadable: tuple[int, ...] = (), max_bad_fraction: float = 0.01) -> None:
        super().__init__("numbers", np.arange(count) % 2, ["even", "odd"], f"numbers {count}", max_bad_fraction)
        self.broken = unreadable

    def key(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> Sample:
        if index in self.broken:
            raise BadImage("broken")
        return {"key": self.key(index), "label": torch.tensor(index)}  # type: ignore[typeddict-item]


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
    dataset = Numbers(count)
    loaders = [ResumableLoader(dataset, batch, seed=1, rank=rank, world_size=world) for rank in range(world)]
    done = data.draw(st.integers(0, len(loaders[0])))
    before = [sample for loader in loaders for part in _take(loader, done) for sample in part]
    states = [loader.state_dict() for loader in loaders]
    assert all(state == states[0] for state in states)

    resumed = [ResumableLoader(dataset, batch, seed=1, rank=rank, world_size=new_world) for rank in range(new_world)]
    for loader in resumed:
        loader.load_state_dict(states[0])
    # With less than a step left, the next iterator would start the next epoch.
    loaders = resumed if count - len(before) >= batch * new_world else []
    rest = [sample for loader in loaders for part in loader for sample in part["label"].tolist()]
    epoch = before + rest
    assert len(set(epoch)) == len(epoch)
    assert count - len(epoch) < batch * new_world


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [1, 3, 4, 5, 8])
def test_resumed_batches_equal_uninterrupted_ones(workers: int, done: int) -> None:
    def make() -> ResumableLoader:
        return ResumableLoader(Numbers(19), 4, seed=7, num_workers=workers)

    full = _run(make(), 12)
    interrupted, resumed = make(), make()
    taken = _run(interrupted, done)
    resumed.load_state_dict(interrupted.state_dict())
    assert taken + _run(resumed, 12 - done) == full


def test_epochs_differ_and_depend_on_the_seed_only() -> None:
    orders = [_take(loader := ResumableLoader(Numbers(32), 8, seed=seed), 4) + _take(loader, 4) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:4] != orders[0][4:]


@pytest.mark.parametrize("workers", [0, 2])
def test_state_counts_batches_handed_out_and_leaves_the_global_generator_alone(workers: int) -> None:
    loader = ResumableLoader(Numbers(40), 4, seed=0, num_workers=workers)
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
        (ResumableLoader(Numbers(41), 4, seed=0), "dataset"),
        (ResumableLoader(Numbers(40), 5, seed=0), "batch_size"),
        (ResumableLoader(Numbers(40), 4, seed=1), "seed"),
    ],
)
def test_another_run_is_refused(other: ResumableLoader, name: str) -> None:
    with pytest.raises(UserError, match=f"the checkpoint was made with {name}"):
        other.load_state_dict(ResumableLoader(Numbers(40), 4, seed=0).state_dict())


def test_too_small_a_dataset() -> None:
    with pytest.raises(UserError, match="7 images are fewer than one batch of 4 on each of 2 processes"):
        ResumableLoader(Numbers(7), 4, seed=0, world_size=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_samples_are_dropped_until_there_are_too_many(workers: int) -> None:
    dataset = Numbers(40, unreadable=(3, 8), max_bad_fraction=0.05)
    labels = [label for batch in ResumableLoader(dataset, 8, seed=0, num_workers=workers) for label in batch["label"]]
    assert len(labels) == 38
    assert dataset.unreadable.nonzero()[:, 0].tolist() == [3, 8]
    dataset = Numbers(40, unreadable=(3, 8, 9))
    with pytest.raises(UserError, match=r"numbers: \d of 40 images so far cannot be read.*First: \d: broken") as caught:
        list(ResumableLoader(dataset, 8, seed=0, num_workers=workers))
    assert "Traceback" not in str(caught.value)


def test_a_batch_without_any_readable_image() -> None:
    dataset = Numbers(40, unreadable=tuple(range(40)), max_bad_fraction=1.0)
    with pytest.raises(UserError, match="no image of a batch of 8 could be read"):
        next(iter(ResumableLoader(dataset, 8, seed=0)))
