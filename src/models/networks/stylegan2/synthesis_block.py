"""One resolution of the synthesis network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from src.models.networks.stylegan2.layers import RESAMPLE_TAPS, Conv2d, separable_taps
from src.models.networks.stylegan2.modulated_layers import OutputHead, SynthesisLayer
from src.models.networks.stylegan2.resolutions import ResolutionPlan
from src.ops.bias_activation import bias_act
from src.ops.fir import setup_filter, upsample2d
from src.ops.modulated_convolution import pointwise_conv2d

__all__ = ["NIR_CHANNELS", "VIS_CHANNELS", "SynthesisBlock"]

VIS_CHANNELS, NIR_CHANNELS = 3, 1


class SynthesisBlock(nn.Module):
    """Upsampling layer, layer, and the visible and near-infrared heads.

    The images of both spectra are kept as one tensor of four channels, in the type of the parameters.

    Args:
        plan: Of the network.
        resolution: Of the output; the first block, of resolution 4, begins with a learned constant.
        w_dim: Length of w.
        architecture: ``"skip"`` adds the outputs of the heads up from block to block, ``"orig"`` and ``"resnet"`` have
            heads in the last block only, ``"resnet"`` adds a shortcut to the layers.
    """

    resample_filter: Tensor

    def __init__(self, plan: ResolutionPlan, resolution: int, w_dim: int, architecture: str) -> None:
        super().__init__()
        self.plan, self.resolution = plan, resolution
        self.is_first, self.is_residual = resolution == 4, resolution > 4 and architecture == "resnet"
        self.has_heads = architecture == "skip" or resolution == plan.resolution
        self.num_conv = 1 if self.is_first else 2
        self.num_ws = self.num_conv + self.has_heads
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))

        channels = plan.channels(resolution)
        if self.is_first:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            self.conv0 = self._layer(plan, plan.channels(resolution // 2), resolution, w_dim, up=2)
        self.conv1 = self._layer(plan, channels, resolution, w_dim, up=1)
        if self.has_heads:
            self.torgb = OutputHead(channels, VIS_CHANNELS, w_dim)
            self.toseg = OutputHead(channels, NIR_CHANNELS, w_dim)  # near-infrared; published weights name it so
        if self.is_residual:
            self.skip = Conv2d(plan.channels(resolution // 2), channels, 1, bias=False, up=2)

    @staticmethod
    def _layer(plan: ResolutionPlan, in_channels: int, resolution: int, w_dim: int, up: int) -> SynthesisLayer:
        return SynthesisLayer(
            in_channels,
            plan.channels(resolution),
            w_dim,
            resolution,
            up=up,
            conv_clamp=plan.conv_clamp,
            channels_last=plan.channels_last,
        )

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noise_mode: str, force_fp32: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Compute one resolution from the one below.

        Args:
            x: Feature map [N, I, H / 2, W / 2]; None in the first block.
            image: [N, 4, H / 2, W / 2]; None where there is none yet.
            ws: [N, num_ws, w_dim].
            noise_mode: As of `SynthesisLayer`.
            force_fp32: Compute in the type of the parameters, contiguous.

        Returns:
            Feature map [N, O, H, W] and image [N, 4, H, W], visible light first; None before the first heads.
        """
        full = self.conv1.weight.dtype
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1)
        x = self._features(self.plan.converted(x, self.resolution, full, force_fp32), ws, noise_mode)
        if image is not None:
            image = upsample2d(image, separable_taps(self.resample_filter))
        if self.has_heads:
            output = self._output(x, ws[:, self.num_conv]).to(dtype=full, memory_format=torch.contiguous_format)
            image = output if image is None else image + output
        return x, image

    def _features(self, x: Tensor, ws: Tensor, noise_mode: str) -> Tensor:
        if self.is_first:
            return self.conv1(x, ws[:, 0], noise_mode)
        if not self.is_residual:
            return self.conv1(self.conv0(x, ws[:, 0], noise_mode), ws[:, 1], noise_mode)
        gain = math.sqrt(0.5)
        shortcut = self.skip(x, gain)
        return shortcut + self.conv1(self.conv0(x, ws[:, 0], noise_mode), ws[:, 1], noise_mode, gain)

    def _output(self, x: Tensor, w: Tensor) -> Tensor:
        """Both heads at once: the feature map is read once, not twice."""
        weights = torch.cat([self.torgb.modulated_weights(w), self.toseg.modulated_weights(w)], dim=1)
        bias = torch.cat([self.torgb.bias, self.toseg.bias])
        output = pointwise_conv2d(x, weights.to(x.dtype))
        return bias_act(output, bias.to(x.dtype), act="linear", clamp=self.plan.conv_clamp)
