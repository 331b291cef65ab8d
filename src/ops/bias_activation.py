"""Bias, activation, gain and clamp in one (Karras et al. 2020, StyleGAN2), differentiable any number of times."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import UserError, check_choice
from src.ops.layout import layout
from src.ops.library import LIBRARY, define

__all__ = ["bias_act"]

_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1),
    "relu": (torch.relu, sqrt(2)),
    "lrelu": (F.leaky_relu, sqrt(2)),
    "tanh": (torch.tanh, 1),
    "sigmoid": (torch.sigmoid, 1),
    "elu": (F.elu, 1),
    "selu": (F.selu, 1),
    "softplus": (F.softplus, 1),
    "swish": (F.silu, sqrt(2)),
}
"""Each with the gain that keeps the variance about as it is."""

_SLOPE = 0.2
_SMALL = 8192
"""Tensors of fewer elements take longer to dispatch than to compute."""


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias, apply an activation, multiply by a gain and clamp, in that order.

    The gradient is 0 where the result is at the bound or beyond.

    Args:
        x: Floating, of any shape.
        bias: [n], n the size of ``x`` along ``dim``, of the type of ``x``; None adds nothing.
        dim: Dimension of the bias.
        act: linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus or swish.
        alpha: Slope of lrelu below 0; None is 0.2. The others have none.
        gain: Factor of the activation, more than 0; None is the square root of 2 for relu, lrelu and swish, else 1.
        clamp: Bound of the result's absolute value; None or less than 0 for no bound.

    Returns:
        Of the shape, type and layout of ``x``.

    Raises:
        UserError: An argument does not fit.
    """
    check_choice("act", act, list(_ACTIVATIONS))
    _check(x, bias, dim, gain)
    function, usual_gain = _ACTIVATIONS[act]
    slope = _SLOPE if alpha is None else alpha
    gain, clamp = usual_gain if gain is None else gain, -1 if clamp is None else clamp
    if act == "lrelu" and _pays(x, dim):
        bias = x.new_zeros(x.shape[1]) if bias is None else bias
        return torch.ops.privface.bias_leaky_relu(x, bias, slope, gain, clamp)
    if bias is not None:
        x = x + _along(bias, x, dim)
    y = F.leaky_relu(x, slope) if act == "lrelu" else function(x)
    y = y * gain if gain != 1 else y
    return y.clamp(-clamp, clamp) if clamp >= 0 else y


def _check(x: Tensor, bias: Tensor | None, dim: int, gain: float | None) -> None:
    if not x.is_floating_point():
        raise UserError(f"bias_act: x is floating, found {x.dtype}")
    if not -x.ndim <= dim < x.ndim:
        raise UserError(f"bias_act: dim is a dimension of x {list(x.shape)}, found {dim}")
    if bias is not None and (bias.shape != x.shape[dim : dim + 1 or None] or bias.dtype != x.dtype):
        raise UserError(
            f"bias_act: bias is {x.dtype} [{x.shape[dim]}] to fit dimension {dim} of x, found {bias.dtype} "
            f"{list(bias.shape)}"
        )
    if gain is not None and gain <= 0:
        raise UserError(f"bias_act: gain is more than 0, found {gain}")


def _pays(x: Tensor, dim: int) -> bool:
    """Whether one pass over the tensor is worth an operator of its own."""
    has_kernel = x.device.type != "cpu" or x.dtype in (torch.float32, torch.float64, torch.bfloat16)
    return has_kernel and dim == 1 and x.ndim > 1 and x.numel() >= _SMALL


def _along(bias: Tensor, x: Tensor, dim: int) -> Tensor:
    shape = [1] * x.ndim
    shape[dim] = -1
    return bias.view(shape)


def _forward(x: Tensor, bias: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    y = F.leaky_relu(x.to(dtype) + _along(bias.to(dtype), x, 1), slope) * gain
    y = y.clamp(-clamp, clamp) if clamp >= 0 else y
    return y.to(x.dtype).contiguous(memory_format=layout(x))


def _gradient(gradient: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    wide = gradient.to(torch.promote_types(y.dtype, torch.float32))
    wide = torch.where(y > 0, wide, wide * slope) * gain
    if clamp >= 0:
        # The bound is rounded as outputs are, so that a clamped output is recognised.
        wide = wide.masked_fill(y.abs() >= torch.full((), clamp, dtype=y.dtype, device=y.device), 0)
    return wide.to(y.dtype).contiguous(memory_format=layout(y))


def _gradients(gradient: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> tuple[Tensor, Tensor]:
    gradient_x = torch.ops.privface.bias_leaky_relu_gradient(gradient, y, slope, gain, clamp)
    return gradient_x, _bias_gradient(gradient_x)


def _bias_gradient(gradient_x: Tensor) -> Tensor:
    dtype = torch.promote_types(gradient_x.dtype, torch.float32)
    return gradient_x.sum([i for i in range(gradient_x.ndim) if i != 1], dtype=dtype).to(gradient_x.dtype)


define("bias_leaky_relu(Tensor x, Tensor bias, float slope, float gain, float clamp) -> Tensor", _forward)
define("bias_leaky_relu_gradient(Tensor gradient, Tensor y, float slope, float gain, float clamp) -> Tensor", _gradient)
define(
    "bias_leaky_relu_gradients(Tensor gradient, Tensor y, float slope, float gain, float clamp) -> (Tensor, Tensor)",
    _gradients,
)


@torch.library.register_fake("privface::bias_leaky_relu", lib=LIBRARY)
def _fake_forward(x: Tensor, bias: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    return torch.empty_like(x, memory_format=layout(x))


@torch.library.register_fake("privface::bias_leaky_relu_gradient", lib=LIBRARY)
def _fake_gradient(gradient: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    return torch.empty_like(y, memory_format=layout(y))


@torch.library.register_fake("privface::bias_leaky_relu_gradients", lib=LIBRARY)
def _fake_gradients(gradient: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(y, memory_format=layout(y)), y.new_empty(y.shape[1])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, _, *ctx.numbers = inputs
    ctx.save_for_backward(output)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    if ctx.needs_input_grad[1]:
        return *torch.ops.privface.bias_leaky_relu_gradients(gradient, y, *ctx.numbers), None, None, None
    return torch.ops.privface.bias_leaky_relu_gradient(gradient, y, *ctx.numbers), None, None, None, None


def _keep_output(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, y, *ctx.numbers = inputs
    ctx.save_for_backward(y)


def _backward_of_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Linear in the incoming gradient; where the output changes, the factors stay the same."""
    (y,) = ctx.saved_tensors
    return torch.ops.privface.bias_leaky_relu_gradient(gradient, y, *ctx.numbers), None, None, None, None


def _backward_of_gradients(
    ctx: Any, gradient: Tensor | None, bias_gradient: Tensor | None
) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    total = torch.zeros_like(y) if gradient is None else gradient
    if bias_gradient is not None:
        total = total + _along(bias_gradient, y, 1)
    return _backward_of_gradient(ctx, total)


for _name, _rule, _setup in (
    ("bias_leaky_relu", _backward, _keep),
    ("bias_leaky_relu_gradient", _backward_of_gradient, _keep_output),
    ("bias_leaky_relu_gradients", _backward_of_gradients, _keep_output),
):
    torch.library.register_autograd(f"privface::{_name}", _rule, setup_context=_setup, lib=LIBRARY)
