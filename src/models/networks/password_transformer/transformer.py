"""The network that anonymises a face under a password, and recovers it with the right one."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.models.networks.password_transformer.layers import (
    ConditionalSequential,
    FeatureModulation,
    PasswordConvolution,
    ReflectionPad,
    ResidualBlock,
    initialize,
    norm_layer,
)
from src.models.networks.password_transformer.password import check_length

__all__ = ["Conditioning", "Padding", "PasswordTransformer", "Upsampling"]

Conditioning = Literal["planes", "film"]
Upsampling = Literal["resize", "transposed"]
Padding = Literal["reflect", "replicate", "zero"]


class PasswordTransformer(nn.Module):
    """Image-to-image residual network that takes a password (Gu, Luo, Ryoo and Lee 2020, arXiv 1911.11759).

    The same network anonymises, recovers and answers wrong passwords. With ``conditioning="planes"`` and
    ``norm="batch"`` it is the published one and its names of weights are the published ones: 11.4 M parameters. There
    the batch's statistics cancel whatever all passwords of a batch have in common, so a single image does not feel its
    password until the statistics are frozen, see `src.models.networks.password_transformer.calibration`. With
    ``conditioning="film"`` and ``norm="group"`` no image depends on others.

    Args:
        length: Bits L of a password, a multiple of 4.
        magnitude: Of the code: a bit is plus or minus this. Published are 0.5 and 0.25.
        zero_one: A bit is 0 or 1 instead.
        channels: Of the first feature map; every downsampling doubles them.
        downsamplings: How often the image is halved.
        blocks: Residual blocks.
        conditioning: How the password enters: as ``"planes"`` beside the image, or by ``"film"``, scales and shifts
            after the norms of all layers up to the last residual block.
        norm: See `src.models.networks.password_transformer.layers.norm_layer`.
        upsampling: ``"resize"`` to the nearest pixel and convolve, or ``"transposed"`` convolutions.
        padding: Of the residual blocks: ``"reflect"``, ``"replicate"`` or ``"zero"``.
        leaky: LeakyReLU of slope 0.1 instead of ReLU.
        dropout: Dropout in the residual blocks.
        init: See `src.models.networks.password_transformer.layers.initialize`, as the next.
        gain: Of the initialisation.
        film_gain: Standard deviation of the weights that make the scales and shifts of ``"film"``, before training; if
            it is small, it takes training long to find out that there are passwords.

    Attributes:
        multiple: Height and width of the images are multiples of this.
        mixes_images: Whether in training an image depends on the others of its batch.

    Raises:
        UserError: An argument is not as said, or ``norm="instance"`` with planes, which would cancel the password.
    """

    def __init__(
        self,
        length: int = 16,
        magnitude: float = 0.5,
        zero_one: bool = False,
        channels: int = 64,
        downsamplings: int = 2,
        blocks: int = 9,
        conditioning: str = "planes",
        norm: str = "batch",
        upsampling: str = "resize",
        padding: str = "reflect",
        leaky: bool = False,
        dropout: bool = False,
        init: str = "normal",
        gain: float = 0.02,
        film_gain: float = 0.2,
    ) -> None:
        super().__init__()
        check_length(length)
        check_choice("model.transformer.conditioning", conditioning, get_args(Conditioning))
        check_choice("model.transformer.upsampling", upsampling, get_args(Upsampling))
        check_choice("model.transformer.padding", padding, get_args(Padding))
        if conditioning == "planes" and norm == "instance":
            raise UserError(
                "model.transformer.norm=instance: it takes away the constant that the password adds to every channel, "
                "so that nothing is learnt of passwords; set norm=group, or conditioning=film"
            )
        self.length, self.magnitude, self.zero_one = length, magnitude, zero_one
        self.multiple, self.mixes_images = 2**downsamplings, norm == "batch"
        self._norm, self._film = norm, conditioning == "film"
        self._leaky = leaky
        inner = channels * self.multiple
        modulated = length if self._film else 0
        self.model = ConditionalSequential(
            ReflectionPad(3),
            self._first(channels),
            *self._normalised(channels),
            *(layer for k in range(downsamplings) for layer in self._down(channels * 2**k)),
            *(ResidualBlock(inner, norm, self._activation(), padding, dropout, modulated) for _ in range(blocks)),
            *(layer for k in range(downsamplings) for layer in self._up(inner // 2**k, upsampling)),
            ReflectionPad(3),
            nn.Conv2d(channels, 3, 7),
            nn.Tanh(),
        )
        initialize(self, init, gain)
        for module in self.modules():
            if isinstance(module, FeatureModulation):
                module.reset(film_gain)

    def _activation(self) -> nn.Module:
        return nn.LeakyReLU(0.1, inplace=True) if self._leaky else nn.ReLU(inplace=True)

    def _first(self, channels: int) -> nn.Module:
        bias = self._norm != "batch"
        return (
            nn.Conv2d(3, channels, 7, bias=bias)
            if self._film
            else PasswordConvolution(3, self.length, channels, 7, bias)
        )

    def _normalised(self, channels: int) -> list[nn.Module]:
        modulation = [FeatureModulation(self.length, channels)] if self._film else []
        return [norm_layer(self._norm, channels), *modulation, self._activation()]

    def _down(self, channels: int) -> list[nn.Module]:
        convolution = nn.Conv2d(channels, 2 * channels, 3, stride=2, bias=self._norm != "batch")
        return [ReflectionPad(1), convolution, *self._normalised(2 * channels)]

    def _up(self, channels: int, upsampling: str) -> list[nn.Module]:
        made = channels // 2
        if upsampling == "resize":
            enlarged = [nn.Upsample(scale_factor=2), ReflectionPad(1), nn.Conv2d(channels, made, 3)]
        else:
            bias = self._norm != "batch"
            enlarged = [nn.ConvTranspose2d(channels, made, 3, stride=2, padding=1, output_padding=1, bias=bias)]
        return [*enlarged, norm_layer(self._norm, made), self._activation()]

    def encode(self, password: Tensor) -> Tensor:
        """What stands for the bits in the network.

        Args:
            password: Bits [B, L], bool or 0 and 1.

        Returns:
            Float [B, L] of the weights' type: plus and minus ``magnitude``, or 0 and 1.
        """
        bits = password.to(next(self.parameters()).dtype)
        return bits if self.zero_one else self.magnitude * (2 * bits - 1)

    def forward(self, images: Tensor, password: Tensor) -> Tensor:
        """Anonymise or recover faces.

        Args:
            images: Float [B, 3, H, W] in [-1, 1] RGB, H and W multiples of `multiple`.
            password: Bits [B, L], bool or 0 and 1: the password to anonymise, its complement to recover.

        Returns:
            Float [B, 3, H, W] in [-1, 1].

        Raises:
            UserError: A shape is not as said.
        """
        height, width = images.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise UserError(
                f"images: expected height and width in multiples of {self.multiple} pixels, found {height}x{width}; "
                "set datamodule.size accordingly"
            )
        if password.shape != (len(images), self.length):
            raise UserError(
                f"password: expected bits [{len(images)}, {self.length}], found {list(password.shape)}; "
                "model.transformer.length is the number of bits"
            )
        return self.model(images, self.encode(password))
