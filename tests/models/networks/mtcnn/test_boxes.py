from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.models.networks.mtcnn.boxes import (
    clip_to_pixels,
    pyramid_scales,
    regress,
    squares_of_grid,
    suppress_contained,
    to_squares,
)

numbers = st.integers(-50, 150)
boxes_of_any_place = st.lists(st.tuples(numbers, numbers, st.integers(0, 60), st.integers(0, 60)), max_size=12)


def _boxes(values: list[tuple[int, int, int, int]]) -> Tensor:
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in values], dtype=torch.float32).reshape(-1, 4)


def test_scales() -> None:
    scales = pyramid_scales(250, 300, 20, 0.709, 12)
    assert scales == pytest.approx([0.6 * 0.709**k for k in range(8)])
    assert 250 * scales[-1] >= 12 > 250 * scales[-1] * 0.709  # the shorter side decides
    assert pyramid_scales(20, 500, 20, 0.709, 12) == [0.6]
    assert pyramid_scales(19, 500, 20, 0.709, 12) == []
    assert pyramid_scales(0, 0, 20, 0.709, 12) == []


def test_squares_of_a_grid() -> None:
    places = torch.tensor([[0, 0], [3, 10]])
    # The squares at column 10 and row 3 begin at scaled pixels 21 and 7 and end at 32 and 18, counted from 1.
    assert squares_of_grid(places, 0.7, stride=2, side=12).tolist() == [[1, 1, 17, 17], [30, 10, 45, 25]]
    assert squares_of_grid(places, 1.0, stride=2, side=12).tolist() == [[1, 1, 12, 12], [21, 7, 32, 18]]


def test_edges_move_by_fractions_of_the_sides() -> None:
    boxes = torch.tensor([[10.0, 20.0, 29.0, 59.0]])
    offsets = torch.tensor([[0.5, -0.25, 0.0, 0.1]])
    assert regress(boxes, offsets).tolist() == [[20.0, 10.0, 29.0, 63.0]]  # 20 pixels wide, 40 high
    torch.testing.assert_close(regress(boxes, offsets, inclusive=False), torch.tensor([[19.5, 10.25, 29.0, 62.9]]))


def test_squares() -> None:
    assert to_squares(torch.tensor([[0.0, 0.0, 10.0, 20.0]])).tolist() == [[-5.0, 0.0, 15.0, 20.0]]
    assert to_squares(torch.tensor([[0.0, 4.0, 10.0, 6.0]])).tolist() == [[0.0, 0.0, 10.0, 10.0]]


@given(boxes_of_any_place)
def test_squares_cover_their_boxes(values: list[tuple[int, int, int, int]]) -> None:
    boxes = _boxes(values)
    squares = to_squares(boxes)
    sides = squares[:, 2:] - squares[:, :2]
    assert torch.equal(sides[:, 0], sides[:, 1])
    assert (squares[:, :2] <= boxes[:, :2]).all()
    assert (squares[:, 2:] >= boxes[:, 2:]).all()
    assert torch.equal(to_squares(squares), squares)


@given(boxes_of_any_place)
def test_pixels_of_boxes(values: list[tuple[int, int, int, int]]) -> None:
    canvas = torch.zeros(100, 80)
    for (x, y, w, h), (left, top, right, bottom) in zip(
        values, clip_to_pixels(_boxes(values), 100, 80).tolist(), strict=True
    ):
        rows = [row for row in range(100) if y <= row + 1 <= y + h]
        columns = [column for column in range(80) if x <= column + 1 <= x + w]
        assert list(range(100))[top:bottom] == rows
        assert list(range(80))[left:right] == columns
        assert canvas[top:bottom, left:right].shape == (len(rows), len(columns))


def test_fractions_of_pixels_are_cut_off() -> None:
    boxes = torch.tensor([[1.9, 2.9, 5.9, 6.9], [-0.5, -9.5, 3.5, 99.0], [200.0, 1.0, 300.0, 9.0]])
    parts = clip_to_pixels(boxes, 50, 60)
    assert parts[:2].tolist() == [[0, 1, 5, 6], [0, 0, 3, 50]]
    assert parts[2, 2] <= parts[2, 0]


def _overlap(a: Tensor, b: Tensor) -> float:
    """Of two boxes with whole edges, over the smaller one, by counting pixels."""
    first, second = (
        {(x, y) for x in range(int(box[0]), int(box[2]) + 1) for y in range(int(box[1]), int(box[3]) + 1)}
        for box in (a, b)
    )
    return len(first & second) / min(len(first), len(second))


def test_boxes_within_others() -> None:
    boxes = torch.tensor([[0.0, 0, 99, 99], [40, 40, 49, 49], [95, 0, 194, 99], [0, 0, 99, 99]])
    assert suppress_contained(boxes, torch.tensor([0.8, 0.9, 0.7, 0.6]), 0.7).tolist() == [1, 2]
    assert suppress_contained(boxes, torch.tensor([0.8, 0.7, 0.9, 0.6]), 0.7).tolist() == [2, 0]
    half = torch.tensor([[0.0, 0, 9, 9], [0, 5, 9, 14]])
    assert suppress_contained(half, torch.tensor([0.5, 0.6]), 0.5).tolist() == [1, 0]
    assert suppress_contained(half, torch.tensor([0.5, 0.6]), 0.49).tolist() == [1]
    assert suppress_contained(torch.zeros(0, 4), torch.zeros(0), 0.7).shape == (0,)


small = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 8), st.integers(0, 8))


@given(st.lists(small, min_size=1, max_size=8), st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_suppression(values: list[tuple[int, int, int, int]], threshold: float, random) -> None:  # type: ignore[no-untyped-def]
    boxes = _boxes(values)
    scores = torch.tensor(random.sample(range(100), len(values))) / 100
    kept = suppress_contained(boxes, scores, threshold).tolist()
    assert kept == sorted(kept, key=lambda number: -scores[number])
    for number in range(len(boxes)):
        better = [other for other in kept if scores[other] > scores[number]]
        assert (number in kept) == all(_overlap(boxes[number], boxes[other]) <= threshold for other in better)
