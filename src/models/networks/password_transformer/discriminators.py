"""The discriminators of anonymised, recovered and wrongly recovered faces."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from src.errors import check_choice
from src.models.networks.password_transformer.layers import initialize, norm_layer

__all__ = ["KINDS", "Discriminators", "strided_convolutions", "widening"]

KINDS = ("M", "R", "WR")
"""Kinds of generated faces by their published names: anonymised (modified), recovered, wrongly recovered."""


def widening(layer: int) -> int:
    """How many times the channels of layer 0 layer ``layer`` has: twice as many each time, up to eight times."""
    return min(2**layer, 8)


def strided_convolutions(in_channels: int, channels: int, layers: int, norm: str) -> list[nn.Module]:
    """4x4 convolutions of stride 2 with LeakyReLU of slope 0.2, all but the first with a norm; channels double.

    Args:
        in_channels: Of the images.
        channels: Of the first layer's output.
        layers: How many.
        norm: See `src.models.networks.password_transformer.layers.norm_layer`.
    """
    made: list[nn.Module] = [nn.Conv2d(in_channels, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    for layer in range(1, layers):
        before, after = (channels * widening(position) for position in (layer - 1, layer))
        convolution = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=norm != "batch")
        made += [convolution, norm_layer(norm, after), nn.LeakyReLU(0.2, inplace=True)]
    return made


class Discriminators(nn.Module):
    """Judges patches of faces at two scales (Isola et al. 2017, "pix2pix", section 3.2.2), for three kinds of faces.

    At full size every kind has a network of its own; at half of it one network, ``FE``, is shared by all. Names of
    weights are the published ones; 11.1 M parameters.

    Args:
        channels: Of the first layer; they double up to eight times as many.
        layers: Convolutions of stride 2.
        norm: See `src.models.networks.password_transformer.layers.norm_layer`.
        init: See `src.models.networks.password_transformer.layers.initialize`, as the next.
        gain: Of the initialisation.
    """

    def __init__(
        self, channels: int = 64, layers: int = 3, norm: str = "batch", init: str = "normal", gain: float = 0.02
    ) -> None:
        super().__init__()
        for name in ("FE", *(f"layer1_{kind}" for kind in KINDS)):
            self.add_module(name, _patch_network(channels, layers, norm))
        initialize(self, init, gain)

    def forward(self, images: Tensor, kind: str) -> list[Tensor]:
        """Judge images as one kind of generated faces, or against real ones of that kind.

        Args:
            images: Float [B, 3, H, W] in [-1, 1].
            kind: One of `KINDS`.

        Returns:
            A map of logits at full size and one at half size, [B, 1, h, w]; 14 and 6 squared for 128 pixels.

        Raises:
            UserError: There is no such kind.
        """
        check_choice("kind", kind, KINDS)
        halved = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        return [self.get_submodule(f"layer1_{kind}")(images), self.get_submodule("FE")(halved)]


def _patch_network(channels: int, layers: int, norm: str) -> nn.Sequential:
    before, after = (channels * widening(position) for position in (layers - 1, layers))
    return nn.Sequential(
        *strided_convolutions(3, channels, layers, norm),
        nn.Conv2d(before, after, 4, padding=1, bias=norm != "batch"),
        norm_layer(norm, after),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(after, 1, 4, padding=1, bias=False),
    )
