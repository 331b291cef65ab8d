"""The Triton kernels on a GPU, against the formulations that run there without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.operators import activation, fir
from benchmarks.operators.measure import Case
from src.ops import hamming_topk, upfirdn2d

__all__ = ["cases", "notes"]

SHAPES = [(8, 512, 32, 32), (8, 64, 256, 256)]
STEPS = [
    # name, up, down, padding
    ("up 2", 2, 1, (2, 1, 2, 1)),
    ("down 2", 1, 2, (1, 1, 1, 1)),
    ("filter", 1, 1, (2, 1, 2, 1)),
]
SEARCHES = [(10**6, 8, 1), (10**6, 8, 128), (10**5, 64, 1), (10**5, 64, 128)]


def cases() -> Iterator[Case]:
    """Filters and activations in float32 and float16 at two sizes of StyleGAN2, and searches; none without a GPU."""
    if not torch.cuda.is_available():
        return
    for dtype in (torch.float32, torch.float16):
        for shape in SHAPES:
            for layout in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(shape, device="cuda", dtype=dtype).contiguous(memory_format=layout)
                suffix = ", channels last" if layout is torch.channels_last else ""
                name = f"{list(shape)}, {str(dtype).removeprefix('torch.')}{suffix}"
                yield from (_filter(f"{step}, {name}", x, fir.BINOMIAL, *geometry) for step, *geometry in STEPS)
                yield from _activations(name, x)
    image = torch.randn(32, 3, 280, 280, device="cuda")
    yield _filter(f"12 taps, down 2, {list(image.shape)}", image, fir.WAVELET, 1, 2, (5, 5, 5, 5))
    yield from (_search(*search) for search in SEARCHES)


def notes() -> list[str]:
    """Why there is no table."""
    return [] if torch.cuda.is_available() else ["no GPU here"]


def _filter(name: str, x: Tensor, taps: Tensor, up: int, down: int, pads: tuple[int, ...]) -> Case:
    taps = taps.to(x.device)
    ours = partial(upfirdn2d, x, taps, up=up, down=down, padding=pads)
    return Case(
        name, ours, partial(fir.plain, x, taps.to(x.dtype), up, down, pads), x.nbytes + ours().nbytes, 3, "cuda"
    )


def _activations(name: str, x: Tensor) -> Iterator[Case]:
    inputs = x.clone().requires_grad_(), torch.randn(x.shape[1], device=x.device, dtype=x.dtype).requires_grad_()
    ours, peer = (partial(function, *inputs) for function in (activation.ours, activation.plain))
    yield Case(f"bias_act, {name}", ours, peer, 2 * x.nbytes, 3, "cuda")
    gradients = _gradients(ours(), inputs), _gradients(peer(), inputs)
    yield Case(f"bias_act, {name}, backward", *gradients, 3 * x.nbytes, 3, "cuda")


def _gradients(y: Tensor, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    upstream = torch.ones_like(y)
    return lambda: torch.autograd.grad(y, inputs, upstream, retain_graph=True)


def _search(rows: int, words: int, queries: int) -> Case:
    codes, probes = (torch.randint(-(2**63), 2**63 - 1, (count, words), device="cuda") for count in (rows, queries))
    ours = partial(hamming_topk, codes, probes, 10)
    peer = partial(product_of_signs, _signs(codes), _signs(probes), 10)
    return Case(f"{rows:,} codes of {64 * words} bits, {queries} queries", ours, peer, device="cuda")


def product_of_signs(codes: Tensor, queries: Tensor, k: int) -> Tensor:
    """The nearest codes by a matrix product of bits as plus and minus 1 in bfloat16, which rounds small differences."""
    return torch.cat([part @ codes.T for part in queries.split(16)]).topk(k).indices


def _signs(words: Tensor) -> Tensor:
    bits = words[..., None] >> torch.arange(64, device=words.device) & 1
    return (2 * bits.to(torch.bfloat16) - 1).flatten(1)
