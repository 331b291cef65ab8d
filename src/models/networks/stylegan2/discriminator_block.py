"""One resolution of the discriminator, and its end."""

from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn

from src.models.networks.stylegan2.layers import RESAMPLE_TAPS, Conv2d, FullyConnected, separable_taps
from src.models.networks.stylegan2.minibatch_deviation import append_minibatch_deviation
from src.models.networks.stylegan2.resolutions import ResolutionPlan
from src.ops.fir import downsample2d, setup_filter

__all__ = ["DiscriminatorBlock", "DiscriminatorEpilogue"]


class DiscriminatorBlock(nn.Module):
    """Layer and downsampling layer, perhaps with a shortcut, perhaps fed by the image.

    Args:
        plan: Of the network.
        resolution: Of the input, 8 or more.
        image_channels: Channels of the images.
        architecture: ``"resnet"`` adds a shortcut to the layers, ``"skip"`` feeds the image to every block, ``"orig"``
            does neither.
    """

    resample_filter: Tensor

    def __init__(self, plan: ResolutionPlan, resolution: int, image_channels: int, architecture: str) -> None:
        super().__init__()
        self.plan, self.resolution = plan, resolution
        self.reads_image = resolution == plan.resolution or architecture == "skip"
        self.is_residual, self.passes_image = architecture == "resnet", architecture == "skip"
        channels, out_channels = plan.channels(resolution), plan.channels(resolution // 2)
        self.register_buffer("resample_filter", setup_filter(RESAMPLE_TAPS))

        # Freezing counts the layers in this order.
        layer = partial(Conv2d, activation="lrelu", conv_clamp=plan.conv_clamp, channels_last=plan.channels_last)
        if self.reads_image:
            self.fromrgb = layer(image_channels, channels, 1)
        self.conv0 = layer(channels, channels, 3)
        self.conv1 = layer(channels, out_channels, 3, down=2)
        if self.is_residual:
            self.skip = Conv2d(channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Tensor | None, image: Tensor | None, force_fp32: bool) -> tuple[Tensor, Tensor | None]:
        """Compute one resolution from the one above.

        Args:
            x: Feature map [N, C, H, W]; None in the first block.
            image: [N, image_channels, H, W] where the block reads it.
            force_fp32: Compute in the type of the parameters, contiguous.

        Returns:
            Feature map [N, C', H / 2, W / 2], and the image at that size if blocks below read it.
        """
        full = self.conv0.weight.dtype
        if x is not None:
            x = self.plan.converted(x, self.resolution, full, force_fp32)
        if self.reads_image:
            assert image is not None
            image = self.plan.converted(image, self.resolution, full, force_fp32)
            features = self.fromrgb(image)
            x = features if x is None else x + features
            image = downsample2d(image, separable_taps(self.resample_filter)) if self.passes_image else None
        assert x is not None
        if not self.is_residual:
            return self.conv1(self.conv0(x)), image
        gain = math.sqrt(0.5)
        return self.skip(x, gain) + self.conv1(self.conv0(x), gain), image


class DiscriminatorEpilogue(nn.Module):
    """Minibatch deviation, convolution and two fully connected layers at resolution 4, never in reduced precision.

    Args:
        plan: Of the network.
        image_channels: Channels of the images.
        out_features: Length of the output.
        architecture: As of `DiscriminatorBlock`.
        group_size: Of the minibatch deviation.
    """

    def __init__(
        self, plan: ResolutionPlan, image_channels: int, out_features: int, architecture: str, group_size: int
    ) -> None:
        super().__init__()
        channels = plan.channels(4)
        self.group_size, self.reads_image = group_size, architecture == "skip"
        if self.reads_image:
            self.fromrgb = Conv2d(image_channels, channels, 1, activation="lrelu")
        self.conv = Conv2d(
            channels + 1, channels, 3, activation="lrelu", conv_clamp=plan.conv_clamp, channels_last=False
        )
        self.fc = FullyConnected(channels * 16, channels, "lrelu")
        self.out = FullyConnected(channels, out_features)

    def forward(self, x: Tensor, image: Tensor | None) -> Tensor:
        """Map [N, C, 4, 4], and for ``"skip"`` the image [N, image_channels, 4, 4], to [N, out_features]."""
        dtype = self.conv.weight.dtype
        x = x.to(dtype)
        if self.reads_image:
            assert image is not None
            x = x + self.fromrgb(image.to(dtype))
        x = self.conv(append_minibatch_deviation(x, self.group_size))
        return self.out(self.fc(x.flatten(1)))
