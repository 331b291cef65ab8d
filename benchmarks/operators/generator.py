"""Modulated convolution and the networks of ArcBiFaceGAN, against StyleGAN2 in plain PyTorch.

The reference runs the same modules with what is peculiar to us replaced: demodulation by a weight per sample, filters
as zero-insertion, padding and a depthwise convolution, leaky ReLU step by step, each output head by itself, everything
contiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.operators.measure import Case
from src.models.networks.stylegan2 import (
    Discriminator,
    Generator,
    SynthesisNetwork,
    layers,
    modulated_layers,
    synthesis_block,
)
from src.models.networks.stylegan2.modulated_layers import OutputHead
from src.ops import resampled_convolution
from src.ops.modulated_convolution import demodulation_coefficients, modulated_conv2d, weight_energy
from src.ops.resampled_convolution import conv2d_resample, for_transposed_convolution

__all__ = ["cases"]

RESOLUTION, BATCH = 64, 4
WIDTH: dict[str, Any] = {"resolution": RESOLUTION, "channel_base": 16384}


def cases() -> list[Case]:
    """From the coefficients to whole training steps."""
    torch.manual_seed(0)
    return [*_convolutions(), *_generator_steps(), *_discriminator_steps()]


def _convolutions() -> list[Case]:
    coefficients = Case(
        "demodulation coefficients [4,512,512,3,3]",
        _with_gradients(_coefficients, torch.randn(512, 512, 3, 3).to(memory_format=torch.channels_last), _styles()),
        _with_gradients(_coefficients_of_a_weight_per_sample, torch.randn(512, 512, 3, 3), _styles()),
        target=6,
    )
    return [
        coefficients,
        *(_convolution(side, dtype) for side in (16, 32) for dtype in (torch.float32, torch.bfloat16)),
        *(_upsampling_convolution(dtype) for dtype in (torch.float32, torch.bfloat16)),
    ]


def _convolution(side: int, dtype: torch.dtype) -> Case:
    x, weight, styles = torch.randn(BATCH, 512, side, side), torch.randn(512, 512, 3, 3), _styles()
    ours = x.to(dtype=dtype, memory_format=torch.channels_last), weight.to(memory_format=torch.channels_last), styles
    return Case(
        f"modulated convolution [4,512,{side},{side}] {_short(dtype)}",
        _with_gradients(partial(modulated_conv2d, padding=1), *ours),
        _with_gradients(_grouped_convolution, x, weight, styles),
        target=1.4 if dtype is torch.float32 else 4,
    )


def _upsampling_convolution(dtype: torch.dtype) -> Case:
    x, weight, styles = torch.randn(BATCH, 512, 16, 16), torch.randn(512, 512, 3, 3), _styles()
    options = {"up": 2, "padding": 1, "resample_filter": torch.tensor([1, 3, 3, 1]) / 8, "flip_weight": False}
    ours = x.to(dtype=dtype, memory_format=torch.channels_last), for_transposed_convolution(weight), styles
    return Case(
        f"modulated convolution, upsampling [4,512,16,16] {_short(dtype)}",
        _with_gradients(partial(modulated_conv2d, **options), *ours),
        _plain(_with_gradients(partial(_modulated_conv2d, **options), x, weight, styles)),
    )


def _generator_steps() -> list[Case]:
    options = {**WIDTH, "mapping_layers": 2}
    reference = Generator(**options, channels_last=False)
    fp32, bf16 = Generator(**options), Generator(**options, precision="bf16")
    ws = torch.randn(BATCH // 2, fp32.num_ws, fp32.w_dim)
    name = f"generator {RESOLUTION} px"
    return [
        Case(f"{name}, images, fp32", partial(_images, fp32), _plain(partial(_images, reference))),
        Case(f"{name}, images, bf16", partial(_images, bf16), _plain(partial(_images, reference))),
        Case(f"{name}, step, fp32", partial(_step, fp32), _plain(partial(_step, reference)), target=1.3),
        Case(f"{name}, step, bf16", partial(_step, bf16), _plain(partial(_step, reference)), target=3),
        Case(
            f"{name}, path length, fp32",
            partial(_path_length, bf16.synthesis, ws),
            _plain(partial(_path_length, reference.synthesis, ws)),
            target=1.3,
        ),
    ]


def _discriminator_steps() -> list[Case]:
    images = torch.randn(BATCH, 3, RESOLUTION, RESOLUTION)
    reference = Discriminator(**WIDTH, channels_last=False)
    fp32, bf16 = Discriminator(**WIDTH), Discriminator(**WIDTH, precision="bf16")
    name = f"discriminator {RESOLUTION} px"
    return [
        Case(f"{name}, step, fp32", partial(_judge, fp32, images), _plain(partial(_judge, reference, images))),
        Case(
            f"{name}, step, bf16", partial(_judge, bf16, images), _plain(partial(_judge, reference, images)), target=3
        ),
        Case(
            f"{name}, R1, fp32",
            partial(_gradient_penalty, bf16, images),
            _plain(partial(_gradient_penalty, reference, images)),
            target=1.1,
        ),
    ]


@torch.no_grad()
def _images(generator: Generator) -> None:
    generator.eval()(torch.randn(BATCH, generator.z_dim))


def _step(generator: Generator) -> None:
    vis, nir = generator.train()(torch.randn(BATCH, generator.z_dim))
    _backward(generator, vis.mean() + nir.mean())


def _path_length(synthesis: SynthesisNetwork, ws: Tensor) -> None:
    ws = ws.detach().requires_grad_()
    vis, nir = synthesis(ws, force_fp32=True)
    projections = (vis * torch.randn_like(vis)).sum() + (nir * torch.randn_like(nir)).sum()
    (gradient,) = torch.autograd.grad(projections, ws, create_graph=True)
    _backward(synthesis, gradient.square().sum(2).mean(1).sqrt().square().mean())


def _judge(discriminator: Discriminator, images: Tensor) -> None:
    _backward(discriminator, F.softplus(discriminator(images)).mean())


def _gradient_penalty(discriminator: Discriminator, images: Tensor) -> None:
    images = images.detach().requires_grad_()
    logits = discriminator(images, force_fp32=True)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    _backward(discriminator, gradient.square().sum((1, 2, 3)).mean())


def _backward(network: torch.nn.Module, loss: Tensor) -> None:
    network.zero_grad(set_to_none=True)
    loss.backward()


def _styles() -> Tensor:
    return torch.rand(BATCH, 512) + 0.5


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]


def _with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    """Forward and backward of a function of tensors."""
    inputs = tuple(value.detach().requires_grad_() for value in inputs)
    upstream = torch.ones_like(function(*inputs).detach())
    return lambda: torch.autograd.grad(function(*inputs), inputs, upstream)


def _coefficients(weight: Tensor, styles: Tensor) -> Tensor:
    return demodulation_coefficients(styles, weight_energy(weight))


def _coefficients_of_a_weight_per_sample(weight: Tensor, styles: Tensor) -> Tensor:
    return ((weight * styles[:, None, :, None, None]).square().sum((2, 3, 4)) + 1e-8).rsqrt()


def _grouped_convolution(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """As in the paper: one convolution whose groups are the samples."""
    weights = weight * styles[:, None, :, None, None]
    weights = weights * (weights.square().sum((2, 3, 4)) + 1e-8).rsqrt()[:, :, None, None, None]
    y = F.conv2d(x.flatten(0, 1)[None], weights.flatten(0, 1), padding=1, groups=len(x))
    return y.unflatten(1, (len(x), -1))[0]


def _plain(step: Callable[[], object]) -> Callable[[], object]:
    """The step, with the reference in place of our operators."""
    replaced = [
        (resampled_convolution, "upfirdn2d", _upfirdn2d),
        (layers, "bias_act", _bias_act),
        (modulated_layers, "bias_act", _bias_act),
        (modulated_layers, "modulated_conv2d", _modulated_conv2d),
        (synthesis_block, "upsample2d", _upsample2d),
        (synthesis_block.SynthesisBlock, "_output", _output),
    ]

    def run() -> object:
        with ExitStack() as stack:
            for owner, name, function in replaced:
                stack.enter_context(patch.object(owner, name, function))
            return step()

    return run


def _modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None = None, **resampling: Any
) -> Tensor:
    coefficients = _coefficients_of_a_weight_per_sample(weight, styles)
    y = conv2d_resample(x * styles[:, :, None, None], weight, **resampling) * coefficients[:, :, None, None]
    return y if noise is None else y + noise


def _output(block: synthesis_block.SynthesisBlock, x: Tensor, w: Tensor) -> Tensor:
    return torch.cat([_head(head, x, w) for head in (block.torgb, block.toseg)], dim=1)


def _head(head: OutputHead, x: Tensor, w: Tensor) -> Tensor:
    styles = head.affine(w) * head.weight_gain
    return F.conv2d(x * styles[:, :, None, None], head.weight) + head.bias[:, None, None]


def _upfirdn2d(x: Tensor, filter: Tensor, *, up: int = 1, down: int = 1, padding: Any = 0, gain: float = 1) -> Tensor:
    samples, channels, height, width = x.shape
    x = F.pad(x.reshape(samples, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(samples, channels, height * up, width * up), padding)
    weight = (filter.outer(filter) * gain).flip((0, 1)).expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, groups=channels)[:, :, ::down, ::down]


def _upsample2d(x: Tensor, filter: Tensor) -> Tensor:
    return _upfirdn2d(x, filter, up=2, padding=[2, 1, 2, 1], gain=4)


def _bias_act(
    x: Tensor, bias: Tensor | None = None, *, act: str = "linear", gain: float | None = None, clamp: float | None = None
) -> Tensor:
    if bias is not None:
        x = x + bias.reshape([1, -1] + [1] * (x.ndim - 2))
    x = F.leaky_relu(x, 0.2) if act == "lrelu" else x
    gain = layers.ACTIVATION_GAIN[act] if gain is None else gain
    return x if gain == 1 else x * gain
