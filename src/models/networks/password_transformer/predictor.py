"""The network that reads a password off a face before and after."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.password_transformer.discriminators import strided_convolutions, widening
from src.models.networks.password_transformer.layers import initialize, norm_layer
from src.models.networks.password_transformer.password import GROUP_BITS, check_length

__all__ = ["PasswordPredictor"]


class PasswordPredictor(nn.Module):
    """Tells the password that turned one face into another, four bits at a time.

    Names of weights are the published ones; 7.0 M parameters. The published network takes 128 to 191 pixels; its last
    average is taken over the whole map here, which is the same at those and makes any size from 64 pixels on fit.

    Args:
        length: Bits L of a password, a multiple of 4.
        channels: Of the first layer; they double up to eight times as many.
        layers: Convolutions of stride 2 before the classifier's own.
        norm: See `src.models.networks.password_transformer.layers.norm_layer`.
        init: See `src.models.networks.password_transformer.layers.initialize`, as the next.
        gain: Of the initialisation.

    Attributes:
        min_size: Least height and width of the images.

    Raises:
        UserError: ``length`` is no multiple of 4.
    """

    def __init__(
        self,
        length: int = 16,
        channels: int = 64,
        layers: int = 3,
        norm: str = "batch",
        init: str = "normal",
        gain: float = 0.02,
    ) -> None:
        super().__init__()
        check_length(length)
        self.FE = nn.ModuleDict({"model": nn.Sequential(*strided_convolutions(6, channels, layers, norm))})
        self.classifiers = _Classifiers(channels * widening(layers - 1), length // GROUP_BITS, norm)
        self.min_size = 8 * 2**layers
        initialize(self, init, gain)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Tell passwords.

        Args:
            before: Float [B, 3, H, W] in [-1, 1], what the password was applied to.
            after: The same faces after it.

        Returns:
            Logits float [B, L / 4, 16], as `src.models.networks.password_transformer.password.groups_of` numbers them.

        Raises:
            UserError: The images are below 64 pixels, with three layers.
        """
        if min(before.shape[-2:]) < self.min_size:
            raise UserError(
                f"datamodule.size: the password predictor takes {self.min_size} pixels and more, found "
                f"{before.shape[-2]}x{before.shape[-1]}"
            )
        return self.classifiers(self.FE["model"](torch.cat([before, after], dim=1)))


class _Classifiers(nn.Module):
    def __init__(self, channels: int, groups: int, norm: str) -> None:
        super().__init__()
        wide = 2 * channels
        self.model = nn.Sequential(
            nn.Conv2d(channels, wide, 4, stride=2, padding=1, bias=norm != "batch"),
            norm_layer(norm, wide),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(wide, wide, 4, stride=4, bias=norm != "batch"),
            norm_layer(norm, wide),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.fc_list = nn.ModuleDict({f"fc_{group}": nn.Linear(wide, 2**GROUP_BITS) for group in range(groups)})

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.model(x).mean(dim=(2, 3))
        return torch.stack([head(pooled) for head in self.fc_list.values()], dim=1)
