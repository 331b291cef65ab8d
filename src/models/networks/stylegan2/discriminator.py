"""The discriminators of ArcBiFaceGAN: of visible images given an identity, and of near-infrared images."""

from __future__ import annotations

import math

from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.models.networks.stylegan2.discriminator_block import DiscriminatorBlock, DiscriminatorEpilogue
from src.models.networks.stylegan2.layers import Conv2d
from src.models.networks.stylegan2.mapping import MappingNetwork
from src.models.networks.stylegan2.resolutions import ResolutionPlan
from src.models.networks.stylegan2.synthesis import ARCHITECTURES

__all__ = ["Discriminator"]


class Discriminator(nn.Module):
    """StyleGAN2 discriminator; with a condition, its output is projected on that (Miyato and Koyama 2018).

    Names and shapes in the state dict are those of the published weights.

    Args:
        resolution: Height and width of the images, a power of two from 8.
        image_channels: 3 for visible light, 1 for the near infrared.
        c_dim: Length of the condition, an identity feature; 0 for none.
        channel_base: Channels at a resolution are this divided by the resolution,
        channel_max: but no more than this.
        architecture: ``"resnet"``, ``"orig"`` or ``"skip"``.
        group_size: Samples in a group of the minibatch deviation; batches are a multiple of it, or smaller.
        frozen_layers: So many convolutions, from the image on, are buffers, which no optimizer sees.
        precision: ``"fp32"``, or ``"bf16"`` or ``"fp16"`` at the highest resolutions.
        num_reduced_resolutions: How many they are.
        conv_clamp: Outputs of convolutions are clamped to plus and minus this; float16 needs it.
        channels_last: Layout in memory.

    Raises:
        UserError: If an argument is not as said.
    """

    def __init__(
        self,
        resolution: int,
        image_channels: int = 3,
        c_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "resnet",
        group_size: int = 4,
        frozen_layers: int = 0,
        precision: str = "fp32",
        num_reduced_resolutions: int = 4,
        conv_clamp: float | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        check_choice("architecture", architecture, ARCHITECTURES)
        plan = ResolutionPlan(
            resolution=resolution,
            channel_base=channel_base,
            channel_max=channel_max,
            precision=precision,
            num_reduced_resolutions=num_reduced_resolutions,
            conv_clamp=conv_clamp,
            channels_last=channels_last,
        )
        self.resolution, self.image_channels, self.c_dim = resolution, image_channels, c_dim
        self.block_resolutions = plan.resolutions[:0:-1]
        for block_resolution in self.block_resolutions:
            block = DiscriminatorBlock(plan, block_resolution, image_channels, architecture)
            self.add_module(f"b{block_resolution}", block)
        convolutions = [module for module in self.modules() if isinstance(module, Conv2d)]
        for convolution in convolutions[:frozen_layers]:
            convolution.freeze()
        out_features = plan.channels(4) if c_dim > 0 else 1
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, out_features)
        self.b4 = DiscriminatorEpilogue(plan, image_channels, out_features, architecture, group_size)

    def forward(self, images: Tensor, c: Tensor | None = None, force_fp32: bool = False) -> Tensor:
        """Judge images.

        Args:
            images: float [N, image_channels, R, R], nominally in [-1, 1].
            c: Conditions [N, c_dim]; ignored without ``c_dim``.
            force_fp32: Compute all in float32, whatever the precision of the network; gradient penalties need it.

        Returns:
            Logits float32 [N, 1], higher for images that look real.

        Raises:
            UserError: If images or conditions have another shape, or the batch cannot be divided into groups.
        """
        size = (self.image_channels, self.resolution, self.resolution)
        if images.ndim != 4 or images.shape[1:] != size:
            expected = ", ".join(map(str, size))
            raise UserError(f"images: expected [N, {expected}], found {list(images.shape)}")
        x, image = None, images
        for resolution in self.block_resolutions:
            x, image = self.get_submodule(f"b{resolution}")(x, image, force_fp32)
        x = self.b4(x, image)
        if self.c_dim == 0:
            return x
        condition = self.mapping(None, c)
        return (x * condition).sum(dim=1, keepdim=True) / math.sqrt(condition.shape[1])
