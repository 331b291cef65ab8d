"""Layers of the synthesis network, steered by w.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from src.errors import check_choice
from src.models.networks.stylegan2.layers import (
    ACTIVATION_GAIN,
    RESAMPLE_TAPS,
    FullyConnected,
    convolution_weight,
    separable_taps,
)
from src.ops.bias_activation import bias_act
from src.ops.fir import setup_filter
from src.ops.modulated_convolution import modulated_conv2d

__all__ = ["NOISE_MODES", "OutputHead", "SynthesisLayer"]

NOISE_MODES = ("random", "const", "none")


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU, clamp.

    Args:
        in_channels: I.
        out_channels: O.
        w_dim: Length of w.
        resolution: Height and width of the output.
        up: Factor of upsampling.
        conv_clamp: The output is clamped to plus and minus this, times the gain of the call.
        channels_last: How the weight lies in memory.
    """

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: int = 1,
        conv_clamp: float | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.conv_clamp = resolution, up, conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(convolution_weight(in_channels, out_channels, 3, up, channels_last))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise_mode: str = "random", gain: float = 1.0) -> Tensor:
        """Map [N, I, H, W] and w [N, w_dim] to [N, O, resolution, resolution].

        ``noise_mode`` is one of `NOISE_MODES`: drawn anew, the buffer ``noise_const``, or none. ``gain`` applies after
        the activation.
        """
        x = modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            self._noise(len(x), noise_mode),
            up=self.up,
            padding=1,
            resample_filter=separable_taps(self.resample_filter),
            flip_weight=self.up == 1,
        )
        return bias_act(
            x,
            self.bias.to(x.dtype),
            act="lrelu",
            gain=ACTIVATION_GAIN["lrelu"] * gain,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
        )

    def _noise(self, samples: int, mode: str) -> Tensor | None:
        check_choice("noise_mode", mode, NOISE_MODES)
        if mode == "none":
            return None
        if mode == "const":
            return self.noise_const * self.noise_strength
        size = (samples, 1, self.resolution, self.resolution)
        return torch.randn(size, dtype=self.noise_const.dtype, device=self.noise_const.device) * self.noise_strength


class OutputHead(nn.Module):
    """Modulated 1x1 convolution, without demodulation, from feature maps to the channels of an image.

    It holds the parameters; heads that read the same feature map are applied together, as one matrix product.

    Args:
        in_channels: I.
        out_channels: O.
        w_dim: Length of w.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = FullyConnected(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def modulated_weights(self, w: Tensor) -> Tensor:
        """The weight of every sample, [N, O, I], for w [N, w_dim]."""
        styles = self.affine(w) * self.weight_gain
        return self.weight.flatten(1) * styles[:, None]
