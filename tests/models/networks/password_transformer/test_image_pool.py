"""The history of generated images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.models.networks.password_transformer.image_pool import ImagePool


def numbered(start: int, count: int) -> Tensor:
    return torch.arange(start, start + count).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone().requires_grad_()


def numbers(images: Tensor) -> list[int]:
    return images[:, 0, 0, 0].int().tolist()


def test_it_fills_before_it_exchanges() -> None:
    torch.manual_seed(0)
    pool = ImagePool(8)
    for start in (0, 4):
        images = numbered(start, 4)
        given = pool.query(images, 4)
        assert torch.equal(given, images.detach())
        assert not given.requires_grad
    assert numbers(torch.stack(pool.images)) == list(range(8))


def test_half_of_the_images_are_exchanged() -> None:
    torch.manual_seed(0)
    pool = ImagePool(50)
    pool.query(numbered(0, 50), 50)
    given = numbers(pool.query(numbered(100, 400), 400))
    new = [number for number in given if number >= 100 and number - 100 == given.index(number)]
    assert 160 < len(new) < 240
    kept = numbers(torch.stack(pool.images))
    assert sorted(kept + given) == sorted([*range(50), *range(100, 500)])  # nothing is lost or doubled


@pytest.mark.parametrize("size", [0, 500])
def test_some_of_all_images_in_their_order(size: int) -> None:
    torch.manual_seed(0)
    pool, chosen = ImagePool(size), set()
    for _ in range(40):
        pool.images.clear()
        given = numbers(pool.query(numbered(0, 8), 4))
        assert len(given) == 4
        assert given == sorted(given)
        chosen.update(given)
    assert chosen == set(range(8))
    assert bool(pool.images) == bool(size)


def test_seed_and_state_decide() -> None:
    def go(pool: ImagePool) -> list[int]:
        torch.manual_seed(7)
        return numbers(pool.query(numbered(100, 20), 10))

    pool, other, empty = ImagePool(10), ImagePool(10), ImagePool(10)
    empty.load_state_dict(empty.state_dict())
    assert empty.images == []
    pool.query(numbered(0, 10), 10)
    other.load_state_dict(pool.state_dict())
    assert go(other) == go(pool)
