"""Upsampling, filtering and downsampling, against zeros inserted, padding, a convolution by channel and slicing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.operators.measure import Case
from src.ops.fir import upfirdn2d

__all__ = ["cases"]

BINOMIAL = torch.tensor([1.0, 3, 3, 1]) / 8
WAVELET = torch.linspace(-0.2, 0.7, 12)
"""As many taps as the filter by which augmentations are resampled."""

SIZES = [(4, 512, 16), (4, 512, 32), (4, 256, 64), (4, 64, 128)]
STEPS = [
    # name, up, down, padding, target forward, target backward
    ("up 2", 2, 1, (2, 1, 2, 1), 5.0, 4.0),
    ("down 2", 1, 2, (1, 1, 1, 1), 5.0, 4.0),
    ("filter", 1, 1, (1, 1, 1, 1), 3.5, 3.0),
]
AUGMENTATIONS = [
    ("12 taps, up 2", 2, 1, (6, 5, 6, 5), (4, 3, 140)),
    ("12 taps, down 2", 1, 2, (5, 5, 5, 5), (4, 3, 280)),
    ("12 taps, up 2", 2, 1, (6, 5, 6, 5), (4, 1, 140)),
]


def cases() -> Iterator[Case]:
    """The calls that StyleGAN2 and its augmentations make, forward and backward."""
    for name, up, down, pads, forward, backward in STEPS:
        for batch, channels, size in SIZES:
            shape = (batch, channels, *[size + (up == down)] * 2)
            for layout in (torch.contiguous_format, torch.channels_last):
                # A target for small images would be one for the overhead of a call.
                targets = (forward, backward) if up != down or size >= 64 else (None, None)
                yield from _pair(name, shape, up, down, pads, BINOMIAL, targets, layout)
    for name, up, down, pads, (batch, channels, size) in AUGMENTATIONS:
        yield from _pair(name, (batch, channels, size, size), up, down, pads, WAVELET, (8.0, 8.0))
    yield from _pair("up 2", (4, 3, 64, 64), 2, 1, (2, 1, 2, 1), BINOMIAL, (5.0, 4.0))


def _pair(
    name: str,
    shape: tuple[int, ...],
    up: int,
    down: int,
    pads: tuple[int, ...],
    taps: Tensor,
    targets: tuple[float | None, float | None],
    layout: torch.memory_format = torch.contiguous_format,
) -> Iterator[Case]:
    x = torch.randn(shape).contiguous(memory_format=layout)
    name = f"{name}, {list(shape)}{', channels last' if layout == torch.channels_last else ''}"

    def ours(x: Tensor) -> Tensor:
        return upfirdn2d(x, taps, up=up, down=down, padding=pads)

    def reference(x: Tensor) -> Tensor:
        return plain(x, taps, up, down, pads)

    # Peers have no kernel for channels last: it is compared with their usual layout.
    plain_x = x.contiguous()
    moved = 4 * (x.numel() + ours(x).numel())
    yield Case(name, lambda: ours(x), lambda: reference(plain_x), moved, targets[0])
    yield Case(f"{name}, backward", _backward(ours, x), _backward(reference, plain_x), moved, targets[1])


def _backward(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    x = x.clone().requires_grad_()
    y = function(x)
    gradient = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, x, gradient, retain_graph=True)


def plain(x: Tensor, taps: Tensor, up: int, down: int, pads: tuple[int, ...]) -> Tensor:
    """As the reference of the published implementation does it: short filters in one pass, long ones in two."""
    batch, channels, height, width = x.shape
    x = F.pad(x.reshape(batch, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(batch, channels, height * up, width * up), pads)
    turned = taps.flip(0)
    if len(taps) < 8:
        x = F.conv2d(x, turned.outer(turned).expand(channels, 1, -1, -1), groups=channels)
    else:
        x = F.conv2d(x, turned.expand(channels, 1, 1, -1), groups=channels)
        x = F.conv2d(x, turned[:, None].expand(channels, 1, -1, -1), groups=channels)
    return x[:, :, ::down, ::down]
