"""What surrounds the values: derivatives, threads, memory, graphs, registration, mistakes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support_margin import ARCFACE, EXACT, SETTINGS, problem, with_gradients
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from src.errors import UserError
from src.losses.heads import ArcFaceHead
from src.ops import margin_cross_entropy


@pytest.mark.parametrize("name", ["softmax", "cosface", "exact", "linear", "easy", "both margins"])
def test_gradcheck(name: str) -> None:
    embeddings, weight, target = problem(5, 6, 4)
    options = SETTINGS[name] | {"scale": 8.0}
    inputs = (embeddings.requires_grad_(), weight.mul_(50).requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: margin_cross_entropy(x, w, target, **options)[0], inputs)


def test_a_second_derivative_is_refused() -> None:
    embeddings, weight, target = problem(4, 5, 6)
    loss, _ = margin_cross_entropy(embeddings.requires_grad_(), weight.requires_grad_(), target)
    (gradient,) = torch.autograd.grad(loss, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="can be differentiated once only"):
        gradient.square().sum().backward()


def test_a_second_backward_pass_is_right() -> None:
    embeddings, weight, target = problem(4, 5, 6)
    loss, cosine = margin_cross_entropy(embeddings.requires_grad_(), weight.requires_grad_(), target)
    assert not cosine.requires_grad
    (first,) = torch.autograd.grad(loss, weight, retain_graph=True)
    (second,) = torch.autograd.grad(2 * loss, weight, retain_graph=True)
    torch.testing.assert_close(second, 2 * first)
    with torch.no_grad():
        weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_only_wanted_gradients_are_computed() -> None:
    embeddings, weight, target = problem(6, 5, 4)
    expected = with_gradients(margin_cross_entropy, embeddings, weight, target)[2:]
    for index in (0, 1):
        inputs = [embeddings.clone(), weight.clone()]
        inputs[index].requires_grad_()
        margin_cross_entropy(*inputs, target)[0].backward()
        torch.testing.assert_close(inputs[index].grad, expected[index])
        assert inputs[1 - index].grad is None


def test_threads_change_nothing() -> None:
    inputs = problem(64, 3000, 512, torch.float32)
    try:
        torch.set_num_threads(2)
        several = with_gradients(margin_cross_entropy, *inputs, **EXACT)
    finally:
        torch.set_num_threads(1)
    single = with_gradients(margin_cross_entropy, *inputs, **EXACT)
    assert all(torch.equal(*pair) for pair in zip(several, single, strict=True))


def test_memory_is_one_buffer_of_cosines() -> None:
    """Counted are the allocations of torch."""
    batch, classes, size = 128, 40_000, 256
    embeddings, weight = torch.randn(batch, size).requires_grad_(), torch.randn(classes, size).requires_grad_()
    target = torch.randint(0, classes, (batch,))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
        margin_cross_entropy(embeddings, weight, target, **ARCFACE)[0].backward()
    events = [event for event in measured.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).cumsum(0)
    gradients = 4 * (embeddings.numel() + weight.numel())
    assert held.max() - gradients >= 4 * batch * classes
    assert held.max() - gradients <= 1.3 * 4 * batch * classes
    assert held[-1] <= gradients + 4096


def test_data_parallel_training_gets_a_dense_gradient() -> None:
    embeddings, weight, target = problem(8, 30, 10)
    target = target.clamp(min=0)
    head = ArcFaceHead(10, 30).double()
    head.weight.data = weight
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        replica = DistributedDataParallel(head)
        replica(embeddings, target).loss.backward()
    finally:
        distributed.destroy_process_group()
    expected = with_gradients(margin_cross_entropy, embeddings, weight, target, **ARCFACE)[3]
    assert head.weight.grad.layout == torch.strided
    torch.testing.assert_close(head.weight.grad, expected)


def test_compiled_graphs_hold_it_whole() -> None:
    embeddings, weight, target = problem(6, 40, 10, torch.float32)

    def doubled(x: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return margin_cross_entropy(2 * x, w, y, **EXACT)

    graph = torch.compile(doubled, backend="aot_eager", fullgraph=True)
    expected = with_gradients(doubled, embeddings, weight, target)
    torch.testing.assert_close(with_gradients(graph, embeddings, weight, target), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            with_gradients(graph, embeddings, weight, target), with_gradients(doubled, embeddings, weight, target)
        )


def test_registration() -> None:
    operators, infinity = torch.ops.privface, math.inf
    embeddings, weight, target = problem(6, 9, 8)
    arguments = (embeddings, weight.requires_grad_(), target, 8.0, 0.5, 0.1, True, "linear", infinity)
    torch.library.opcheck(operators.margin_cross_entropy.default, arguments)
    _, _, *saved = (tensor.detach() for tensor in operators.margin_cross_entropy(*arguments))
    one = torch.ones((), dtype=torch.float64)
    backward = (one, embeddings, weight.detach(), target, *saved, 8.0, infinity, True, False)
    torch.library.opcheck(operators.margin_cross_entropy_backward.default, backward)
    rows, columns, matrix = torch.rand(6), torch.rand(9), torch.rand(6, 9)
    torch.library.opcheck(
        operators.softmax_statistics.default, (matrix, columns, target, 8.0, infinity, matrix.clone())
    )
    torch.library.opcheck(
        operators.softmax_gradient.default, (matrix, columns, target, rows, rows, rows, 8.0, infinity, matrix.clone())
    )
    torch.library.opcheck(operators.tangential_part.default, (matrix, matrix, rows, matrix.clone()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": torch.zeros(4, 7)}, r"weight: expected floats \[C,7\], found float32 \[5, 6\]"),
        ({"embeddings": torch.zeros(4, 6, dtype=torch.int64)}, r"embeddings: expected floats \[B,D\], found int64"),
        ({"weight": torch.zeros(0, 6)}, "weight: expected"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, r"target: expected int64 \[4\], found int64 \[3\]"),
        ({"target": torch.zeros(4)}, "found float32"),
        ({"target": torch.tensor([0, 5, 1, 2])}, "target: expected classes from 0 to 4, or -1, found 5"),
        ({"target": torch.tensor([0, -2, 1, 2])}, "found -2"),
        ({"gradient": "ste"}, "gradient: expected straight_through or exact, found 'ste'"),
        ({"guard": "hard"}, "guard: expected none, linear or easy"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    arguments = {"embeddings": torch.zeros(4, 6), "weight": torch.zeros(5, 6), "target": torch.tensor([0, 1, 2, 3])}
    with pytest.raises(UserError, match=message):
        margin_cross_entropy(**arguments | change)
