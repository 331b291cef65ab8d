"""Layers of the password transformer: norms, initialisation, and how a password enters a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.errors import check_choice

__all__ = [
    "ConditionalSequential",
    "FeatureModulation",
    "Init",
    "Norm",
    "PasswordConvolution",
    "ReflectionPad",
    "ResidualBlock",
    "initialize",
    "norm_layer",
]

Norm = Literal["batch", "group", "instance", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal"]

_GROUP = 16
"""Channels that a group norm takes together (Wu and He 2018, "Group Normalization", section 4.1)."""
_HIDDEN = 128
"""Units between a password and the scales and shifts that it is mapped to."""


def norm_layer(norm: str, channels: int) -> nn.Module:
    """A norm by its name.

    Args:
        norm: ``"batch"`` by the batch's own statistics in both modes, without buffers, unless
            `src.models.networks.password_transformer.calibration` gives it some; ``"group"`` over up to 16 channels of
            one image; ``"instance"`` over one channel of one image, with running statistics for evaluation and without
            weights; ``"none"``.
        channels: Of what it is applied to.

    Raises:
        UserError: There is no such norm.
    """
    check_choice("norm", norm, get_args(Norm))
    if norm == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=False)
    if norm == "group":
        return nn.GroupNorm(channels // math.gcd(channels, _GROUP), channels)
    return nn.InstanceNorm2d(channels, track_running_stats=True) if norm == "instance" else nn.Identity()


def initialize(network: nn.Module, init: str = "normal", gain: float = 0.02) -> None:
    """Draw weights anew: of convolutions and linear layers as said, of norms from N(1, gain^2); biases are 0.

    Args:
        network: Changed in place.
        init: ``"normal"``: N(0, gain^2); ``"xavier"`` and ``"orthogonal"`` with that gain; ``"kaiming"`` by the inputs.
        gain: See ``init``.

    Raises:
        UserError: There is no such ``init``.
    """
    check_choice("init", init, get_args(Init))
    draw: dict[str, Callable[[Tensor], object]] = {
        "normal": partial(nn.init.normal_, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": nn.init.kaiming_normal_,
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            draw[init](module.weight)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, gain)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ConditionalSequential(nn.Sequential):
    """A sequence of layers, some of which see the password as well."""

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # type: ignore[override]
        """Apply all layers in order.

        Args:
            x: Input of the first layer.
            code: Encoded passwords [B, L].
        """
        for layer in self:
            x = (
                layer(x, code)
                if isinstance(layer, PasswordConvolution | FeatureModulation | ResidualBlock)
                else layer(x)
            )
        return x


class PasswordConvolution(nn.Conv2d):
    """Convolution over an image and a constant plane for every bit of the password.

    A constant plane only shifts what a convolution yields, so the planes are never made: every image and channel gets
    the sum of the plane's weights times the code.

    Args:
        channels: Channels C of the image.
        length: Bits L of a password.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel; the image comes padded by reflection, which the planes would not feel.
        bias: Whether there is one.
    """

    def __init__(self, channels: int, length: int, out_channels: int, kernel_size: int, bias: bool) -> None:
        super().__init__(channels + length, out_channels, kernel_size, bias=bias)
        self.channels = channels

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # type: ignore[override]
        """Map images [B, C, H, W] and codes [B, L] to [B, C', H - K + 1, W - K + 1]."""
        shift = code @ self.weight[:, self.channels :].sum(dim=(2, 3)).T
        return self._conv_forward(x, self.weight[:, : self.channels], self.bias) + shift[:, :, None, None]


class ReflectionPad(nn.ReflectionPad2d):
    """Reflection in the precision of its input: autocast would pad in single precision, and copy it twice for that."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C, H + 2 P, W + 2 P]."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class FeatureModulation(nn.Module):
    """Scales and shifts every channel as the password says (Perez et al. 2018, "FiLM", eq. 2).

    Args:
        length: Bits L of a password.
        channels: Channels C of the feature map.
    """

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(length, _HIDDEN)
        self.output = nn.Linear(_HIDDEN, 2 * channels)

    def reset(self, gain: float) -> None:
        """Start around the identity: the last layer's weights are from N(0, gain^2), its biases 0."""
        self.hidden.reset_parameters()
        nn.init.normal_(self.output.weight, 0.0, gain)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map [B, C, H, W] with codes [B, L] to the same shape."""
        scale, shift = self.output(F.leaky_relu(self.hidden(code), 0.2))[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(x + shift, x, scale)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norms, plus the input; no activation after the sum.

    Args:
        channels: Of the feature map.
        norm: See `norm_layer`.
        activation: After the first norm.
        padding: ``"reflect"``, ``"replicate"`` or ``"zero"``.
        dropout: Whether half of the channels' values are dropped between the convolutions in training.
        length: Bits of the password that modulates both norms; 0 for no modulation.
    """

    def __init__(
        self, channels: int, norm: str, activation: nn.Module, padding: str, dropout: bool, length: int
    ) -> None:
        super().__init__()
        first = [*self._convolution(channels, norm, padding, length), activation]
        between = [nn.Dropout(0.5)] if dropout else []
        self.conv_block = ConditionalSequential(*first, *between, *self._convolution(channels, norm, padding, length))

    @staticmethod
    def _convolution(channels: int, norm: str, padding: str, length: int) -> list[nn.Module]:
        pads: dict[str, list[nn.Module]] = {
            "reflect": [ReflectionPad(1)],
            "replicate": [nn.ReplicationPad2d(1)],
            "zero": [],
        }
        bias = norm != "batch"
        convolution = nn.Conv2d(channels, channels, 3, padding=1 if padding == "zero" else 0, bias=bias)
        modulation = [FeatureModulation(length, channels)] if length else []
        return [*pads[padding], convolution, norm_layer(norm, channels), *modulation]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map [B, C, H, W] with codes [B, L] to the same shape."""
        return x + self.conv_block(x, code)
