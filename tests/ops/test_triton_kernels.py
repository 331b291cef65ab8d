"""Values are tested on a GPU; without one, a process of its own runs the same tests in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="needs triton")

from support_triton import DEVICE, INTERPRETED, ON_GPU, OPERATORS, TAPS, close, image, zeros_inserted_then_filtered

from src import ops  # noqa: F401  (defines the operators)
from src.ops import triton_kernels
from src.ops.triton_kernels import bias_activation, fir, hamming

needs_kernels = pytest.mark.skipif(not (ON_GPU or INTERPRETED), reason="needs a GPU; interpreted in another test")

LONG = torch.linspace(-0.5, 1, 12)
GEOMETRIES = [
    (2, 2, 1, 1, 2, 1, 2, 1, TAPS),
    (1, 1, 2, 2, 1, 1, 1, 1, TAPS),
    (1, 1, 1, 1, 2, 2, 2, 2, TAPS),
    (2, 2, 1, 1, 6, 5, 6, 5, LONG),
    (1, 1, 2, 2, -3, -2, -4, 1, LONG[:6]),
    (2, 1, 1, 2, 3, 2, 0, 1, LONG[:5]),
    (3, 2, 2, 3, 4, 3, 2, 5, LONG[:7]),
    (1, 2, 3, 1, 1, 0, -1, 3, LONG[:2]),
]


@pytest.mark.skipif(ON_GPU or INTERPRETED, reason="the other tests run as they are")
def test_values_in_the_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", __file__]
    found = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@needs_kernels
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", range(len(GEOMETRIES)))
def test_upfirdn2d(case: int, channels_last: bool) -> None:
    *geometry, taps = GEOMETRIES[case]
    taps = taps.to(DEVICE)
    x = image(torch.bfloat16 if (case + channels_last) % 2 else torch.float32, channels_last, 2, 5, 9, 11)
    found = fir.upfirdn2d(x, taps, taps.flip(0), *geometry)
    expected = zeros_inserted_then_filtered(x, taps, taps.flip(0), *geometry)
    assert found.dtype == x.dtype
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert close(found, expected)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_upfirdn2d_of_more_than_one_block(dtype: torch.dtype) -> None:
    x, taps = image(dtype, False, 2, 3, 20, 60), TAPS
    found = fir.upfirdn2d(x.mT.contiguous().mT, taps, taps, 2, 2, 1, 1, 2, 1, 2, 1)  # not contiguous
    assert found.is_contiguous()
    assert close(found, zeros_inserted_then_filtered(x, taps, taps, 2, 2, 1, 1, 2, 1, 2, 1))


@needs_kernels
def test_what_is_not_finite_stays_within_the_taps() -> None:
    x, taps = image(torch.float32, False, 1, 1, 20, 20), TAPS
    x[0, 0, 9, 9] = torch.nan
    found = fir.upfirdn2d(x, taps, taps, 1, 1, 1, 1, 2, 1, 2, 1)
    assert found.isnan().nonzero()[:, 2:].unique(dim=0).tolist() == [[y, x] for y in range(8, 12) for x in range(8, 12)]


@needs_kernels
@pytest.mark.parametrize("clamp", [-1.0, 0.7])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 3, 7), (2, 3000), (4, 3, 2, 600), (3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bias_leaky_relu(dtype: torch.dtype, shape: tuple[int, ...], channels_last: bool, clamp: float) -> None:
    if channels_last and len(shape) != 4:
        pytest.skip("no image")
    x, bias = image(dtype, channels_last, *shape), image(dtype, False, shape[1])
    y = bias_activation.bias_leaky_relu(x, bias, 0.2, 1.4, clamp)
    expected = F.leaky_relu(x.double() + bias.double().view(-1, *[1] * (len(shape) - 2)), 0.2) * 1.4
    limit = torch.tensor(clamp if clamp > 0 else 1e9, dtype=dtype).item()
    assert y.dtype == dtype
    assert y.stride() == x.stride()
    assert close(y, expected.clamp(-limit, limit))

    gradient = image(dtype, not channels_last, *shape) if len(shape) == 4 else image(dtype, False, *shape)
    found = bias_activation.bias_leaky_relu_gradient(gradient, y, 0.2, 1.4, clamp)
    slopes = torch.where(y > 0, 1.4, 1.4 * 0.2).double() * (y.abs() < limit)
    assert found.stride() == y.stride()
    assert close(found, gradient.double() * slopes)


@needs_kernels
def test_limits_let_nan_pass() -> None:
    x = torch.tensor([[torch.nan, torch.inf, -torch.inf]], device=DEVICE)
    y = bias_activation.bias_leaky_relu(x, torch.zeros(3, device=DEVICE), 0.2, 1.0, 2.0)
    assert str(y.tolist()) == "[[nan, 2.0, -2.0]]"


@needs_kernels
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_empty_batches(shape: tuple[int, ...]) -> None:
    x = image(torch.float32, False, *shape)
    y = bias_activation.bias_leaky_relu(x, x.new_zeros(shape[1]), 0.2, 1.0, -1.0)
    assert y.shape == bias_activation.bias_leaky_relu_gradient(y, y, 0.2, 1.0, -1.0).shape == x.shape
    taps = TAPS
    assert fir.upfirdn2d(x, taps, taps, 2, 2, 1, 1, 2, 1, 2, 1).shape == (*shape[:2], 16, 16)


def random_words(rows: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(-(2**63), 2**63 - 1, (rows, width), generator=generator)
    words[::2] &= 3  # many ties
    return words.to(DEVICE)


@needs_kernels
@pytest.mark.parametrize(
    ("rows", "queries", "words", "runs", "k", "keyed"),
    [
        (300, 5, 4, 1, 10, True),
        (300, 20, 6, 3, 200, False),
        (7, 3, 2, 2, 10, True),
        (0, 3, 2, 1, 4, False),
        (9, 0, 2, 1, 4, False),
    ],
)
def test_hamming(
    rows: int, queries: int, words: int, runs: int, k: int, keyed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "_SCORES", 130 * queries)  # several blocks
    codes, probes = random_words(rows, words, 0), random_words(queries, words, 1)
    key = random_words(rows, words, 2) if keyed else None
    differ = (codes if key is None else codes ^ key)[None] ^ probes[:, None]
    bits = (differ[..., None] >> torch.arange(64, device=DEVICE) & 1).unflatten(2, (runs, words // runs))
    expected = bits.any(dim=2).sum(dim=(2, 3))
    order = expected.argsort(dim=1, stable=True)[:, :k]

    found = hamming.hamming_distances(codes, probes, key, runs)
    assert found.dtype == torch.int32
    assert torch.equal(found.long(), expected)
    distances, ids = hamming.hamming_topk(codes, probes, key, k, runs)
    assert (distances.dtype, ids.dtype) == (torch.int32, torch.int64)
    assert torch.equal(ids, order)
    assert torch.equal(distances.long(), expected.gather(1, order))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_kernel_stands_for_an_operator(name: str) -> None:
    arguments = getattr(torch.ops.privface, name).default._schema.arguments
    assert [argument.name for argument in arguments] == list(getattr(triton_kernels, name).__annotations__)[:-1]
