"""The networks of ArcBiFaceGAN in plain PyTorch, as the published program trains them on a CPU.

Filters are zero-insertion, padding, a depthwise convolution and slicing; activations go step by step; demodulation
squares a weight for every sample; each output head reads the feature map by itself; all is contiguous. State dicts have
our names, without the resampling filters.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.operators.fir import BINOMIAL, plain
from src.models.networks.stylegan2 import Discriminator, Generator

__all__ = ["PlainDiscriminator", "PlainGenerator", "weights"]


class PlainGenerator(nn.Module):
    """The networks of a `Generator`, with the same weights."""

    def __init__(self, ours: Generator, reduced: torch.dtype) -> None:
        super().__init__()
        self.z_dim, self.num_ws = ours.z_dim, ours.num_ws
        self.mapping = _Mapping(ours.mapping)
        self.synthesis = nn.ModuleDict()
        for resolution in ours.synthesis.resolutions:
            block = ours.synthesis.get_submodule(f"b{resolution}")
            dtype = reduced if resolution >= _lowest_reduced(ours.resolution) else torch.float32
            self.synthesis[f"b{resolution}"] = _SynthesisBlock(block, dtype)
        self.load_state_dict(weights(ours))

    def images(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Visible [N, 3, R, R] and near-infrared [N, 1, R, R] images for ws [N, num_ws, w_dim]."""
        x = vis = nir = None
        first = 0
        for block in self.synthesis.values():
            x, vis, nir = block(x, vis, nir, ws[:, first:])
            first += block.count
        return vis, nir


class PlainDiscriminator(nn.Module):
    """The network of a `Discriminator`, with the same weights."""

    def __init__(self, ours: Discriminator, reduced: torch.dtype) -> None:
        super().__init__()
        self.resolutions, self.group_size = ours.block_resolutions, ours.b4.group_size
        for resolution in self.resolutions:
            block = ours.get_submodule(f"b{resolution}")
            self.add_module(f"b{resolution}", nn.ModuleDict({n: _Conv(m) for n, m in block.named_children()}))
        self.dtypes = [reduced if r >= _lowest_reduced(ours.resolution) else torch.float32 for r in self.resolutions]
        if ours.c_dim:
            self.mapping = _Mapping(ours.mapping)
        self.b4 = nn.ModuleDict({"conv": _Conv(ours.b4.conv), "fc": _Dense(ours.b4.fc), "out": _Dense(ours.b4.out)})
        self.load_state_dict(weights(ours))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits [N, 1] of images and conditions."""
        for resolution, dtype in zip(self.resolutions, self.dtypes, strict=True):
            block, x, gain = self.get_submodule(f"b{resolution}"), x.to(dtype), math.sqrt(0.5)
            x = block["fromrgb"](x) if "fromrgb" in block else x
            shortcut = block["skip"](x, gain, down=True)
            x = shortcut + block["conv1"](block["conv0"](x), gain, down=True)
        x = self._with_deviation(x.float())
        x = self.b4["out"](self.b4["fc"](self.b4["conv"](x).flatten(1)))
        if c is None:
            return x
        condition = self.mapping(None, c)
        return (x * condition).sum(1, keepdim=True) / math.sqrt(condition.shape[1])

    def _with_deviation(self, x: Tensor) -> Tensor:
        samples, channels, height, width = x.shape
        y = x.reshape(min(self.group_size, samples), -1, 1, channels, height, width)
        y = (y - y.mean(0)).square().mean(0)
        y = (y + 1e-8).sqrt().mean([2, 3, 4]).reshape(-1, 1, 1, 1)
        return torch.cat([x, y.repeat(samples // len(y), 1, height, width)], 1)


class _Dense(nn.Module):
    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.empty_like(value)) for value in (ours.weight, ours.bias))
        self.gains, self.activation = (ours.weight_gain, ours.bias_gain), ours.activation

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.gains[0], self.bias * self.gains[1]
        if self.activation == "linear":
            return torch.addmm(bias[None], x, weight.t())
        return _activated(x @ weight.t(), bias, self.activation)


class _Conv(nn.Module):
    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty_like(ours.weight, memory_format=torch.contiguous_format))
        self.bias = None if ours.bias is None else nn.Parameter(torch.empty_like(ours.bias))
        self.weight_gain, self.activation, self.padding = ours.weight_gain, ours.activation, ours.padding

    def forward(self, x: Tensor, gain: float = 1.0, down: bool = False) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        if down and self.padding == 0:
            x = F.conv2d(_upfirdn2d(x, 1, 2, 1, 1), weight)
        elif down:
            x = F.conv2d(_upfirdn2d(x, 1, 1, 2, 2), weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        return _activated(x, self.bias, self.activation, gain)


class _Mapping(nn.Module):
    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.num_ws, self.layers = ours.num_ws, [f"fc{index}" for index in range(ours.num_layers)]
        for name in [name for name, _ in ours.named_children()]:
            self.add_module(name, _Dense(ours.get_submodule(name)))
        if self.num_ws is not None:
            self.register_buffer("w_avg", torch.empty_like(ours.w_avg))

    def forward(self, z: Tensor | None, c: Tensor, update: bool = True) -> Tensor:
        x = _normalized(self.embed(c))
        x = x if z is None else torch.cat([_normalized(z), x], 1)
        for name in self.layers:
            x = self.get_submodule(name)(x)
        if self.num_ws is None:
            return x
        if update:
            self.w_avg.copy_(x.detach().mean(0).lerp(self.w_avg, 0.995))
        return x[:, None].repeat(1, self.num_ws, 1)


class _SynthesisBlock(nn.Module):
    def __init__(self, ours: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.count = dtype, ours.num_conv
        if ours.is_first:
            self.const = nn.Parameter(torch.empty_like(ours.const))
        else:
            self.conv0 = _SynthesisLayer(ours.conv0)
        self.conv1, self.torgb, self.toseg = _SynthesisLayer(ours.conv1), _Head(ours.torgb), _Head(ours.toseg)

    def forward(
        self, x: Tensor | None, vis: Tensor | None, nir: Tensor | None, ws: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        if x is None:
            x = self.const.to(self.dtype)[None].repeat(len(ws), 1, 1, 1)
        else:
            x = self.conv0(x.to(self.dtype), ws[:, 0])
        x = self.conv1(x, ws[:, self.count - 1])
        w = ws[:, self.count]
        return x, _added(vis, self.torgb(x, w)), _added(nir, self.toseg(x, w))


class _SynthesisLayer(nn.Module):
    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.up, self.resolution, self.affine = ours.up, ours.resolution, _Dense(ours.affine)
        self.weight = nn.Parameter(torch.empty_like(ours.weight, memory_format=torch.contiguous_format))
        self.bias, self.noise_strength = nn.Parameter(torch.empty_like(ours.bias)), nn.Parameter(torch.empty(()))
        self.register_buffer("noise_const", torch.empty_like(ours.noise_const))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w)
        noise = torch.randn(len(x), 1, self.resolution, self.resolution) * self.noise_strength
        modulated = self.weight[None] * styles[:, None, :, None, None]
        coefficients = (modulated.square().sum([2, 3, 4]) + 1e-8).rsqrt()
        x, weight = x * styles.to(x.dtype)[:, :, None, None], self.weight.to(x.dtype)
        if self.up == 1:
            x = F.conv2d(x, weight, padding=1)
        else:
            x = _upfirdn2d(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, 1, 1, 1, gain=4)
        x = torch.addcmul(noise.to(x.dtype), x, coefficients.to(x.dtype)[:, :, None, None])
        return _activated(x, self.bias, "lrelu")


class _Head(nn.Module):
    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.affine, self.weight_gain = _Dense(ours.affine), ours.weight_gain
        self.weight, self.bias = nn.Parameter(torch.empty_like(ours.weight)), nn.Parameter(torch.empty_like(ours.bias))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.weight_gain
        x = F.conv2d(x * styles.to(x.dtype)[:, :, None, None], self.weight.to(x.dtype))
        return _activated(x, self.bias, "linear").float()


def weights(network: nn.Module) -> dict[str, Tensor]:
    """State of one of our networks, as the plain one reads it."""
    return {name: value for name, value in network.state_dict().items() if not name.endswith("resample_filter")}


def _lowest_reduced(resolution: int) -> int:
    return max(resolution // 8, 8)


def _upfirdn2d(x: Tensor, up: int, down: int, before: int, after: int, gain: float = 1.0) -> Tensor:
    taps = (BINOMIAL * math.sqrt(gain)).to(x.dtype)
    return plain(x, taps, up, down, (before, after, before, after))


def _added(image: Tensor | None, output: Tensor) -> Tensor:
    return output if image is None else _upfirdn2d(image, 2, 1, 2, 1, gain=4) + output


def _normalized(x: Tensor) -> Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _activated(x: Tensor, bias: Tensor | None, activation: str, gain: float = 1.0) -> Tensor:
    if bias is not None:
        x = x + bias.to(x.dtype).reshape([1, -1] + [1] * (x.ndim - 2))
    if activation == "lrelu":
        x, gain = F.leaky_relu(x, 0.2), gain * math.sqrt(2)
    return x if gain == 1 else x * gain
