"""Layers with an equalized learning rate (Karras et al. 2018, "Progressive growing of GANs", section 4.1).

Weights are drawn from N(0, 1) and scaled when used, so that an optimizer moves all of them at the same relative speed.
Parameters stay in float32 and are cast to the type of the input.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.ops.bias_activation import bias_act
from src.ops.fir import setup_filter
from src.ops.resampled_convolution import conv2d_resample, for_transposed_convolution

__all__ = ["ACTIVATION_GAIN", "RESAMPLE_TAPS", "Conv2d", "FullyConnected", "convolution_weight", "separable_taps"]

RESAMPLE_TAPS = (1, 3, 3, 1)
"""The low-pass filter of all up- and downsampling."""

ACTIVATION_GAIN = {"linear": 1.0, "lrelu": math.sqrt(2)}
"""What keeps the variance of an activation's input."""


class FullyConnected(nn.Module):
    """``act(x @ weight.T + bias)``.

    Args:
        in_features: I.
        out_features: O.
        activation: ``"linear"`` or ``"lrelu"``.
        lr_multiplier: The layer learns so many times faster.
        bias: First value of the biases.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, I] to [N, O]."""
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        # The gain on x, not on the weight: much the smaller of the two.
        x = x * self.weight_gain
        if self.activation == "linear":
            return F.linear(x, self.weight, bias)
        return bias_act(F.linear(x, self.weight), bias, act=self.activation)


class Conv2d(nn.Module):
    """Convolution with up- or downsampling, bias, activation and clamp.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: Odd; the image is padded to keep its size.
        bias: Have one.
        activation: ``"linear"`` or ``"lrelu"``.
        up: Factor of upsampling.
        down: Factor of downsampling.
        conv_clamp: The output is clamped to plus and minus this, times the gain of the call.
        channels_last: How the weight lies in memory.
    """

    weight: Tensor
    bias: Tensor | None
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: str = "linear",
        up: int = 1,
        down: int = 1,
        conv_clamp: float | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.weight = nn.Parameter(convolution_weight(in_channels, out_channels, kernel_size, up, channels_last))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def freeze(self) -> None:
        """Make buffers of weight and bias, which no optimizer sees."""
        for name, parameter in list(self.named_parameters()):
            delattr(self, name)
            self.register_buffer(name, parameter.detach())

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map [N, I, H, W] to [N, O, H * up / down, W * up / down], scaled by ``gain`` after the activation."""
        x = conv2d_resample(
            x,
            (self.weight * self.weight_gain).to(x.dtype),
            separable_taps(self.resample_filter),
            up=self.up,
            down=self.down,
            padding=self.padding,
            flip_weight=self.up == 1,
        )
        return bias_act(
            x,
            None if self.bias is None else self.bias.to(x.dtype),
            act=self.activation,
            gain=ACTIVATION_GAIN[self.activation] * gain,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
        )


def convolution_weight(in_channels: int, out_channels: int, size: int, up: int, channels_last: bool) -> Tensor:
    """A weight [O, I, size, size] drawn from N(0, 1), laid out in memory for the convolution that will use it."""
    weight = torch.randn(out_channels, in_channels, size, size)
    if not channels_last or size == 1:
        return weight
    return for_transposed_convolution(weight) if up > 1 else weight.to(memory_format=torch.channels_last)


def separable_taps(resample_filter: Tensor) -> Tensor:
    """The float32 [n] taps of a normalised filter [n, n], their outer product, which is all that state dicts hold."""
    return resample_filter.sum(0, dtype=torch.float32)
