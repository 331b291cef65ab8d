"""How fast the networks of the password transformer learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from torch.optim import Adam

from src.errors import UserError

__all__ = ["AdamRates"]


@dataclass(frozen=True, kw_only=True)
class AdamRates:
    """Settings of both optimisers; the published values by default. Learning rates stay as they are.

    Attributes:
        g_lr: Learning rate of the transformer.
        q_lr: Of the password predictor.
        d_lr: Of the discriminators.
        fr_lr: Of the recogniser and its head; 0: they are frozen.
        beta1: First coefficient of Adam; the second is 0.999.
        weight_decay: Of all parameters.

    Raises:
        UserError: A learning rate is negative.
    """

    g_lr: float = 1e-4
    q_lr: float = 1e-4
    d_lr: float = 1e-4
    fr_lr: float = 1e-5
    beta1: float = 0.5
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if min(self.g_lr, self.q_lr, self.d_lr, self.fr_lr) < 0:
            raise UserError(f"optim: expected learning rates of 0 or more, found {self}")

    @property
    def freezes_recogniser(self) -> bool:
        """Whether the recogniser does not learn."""
        return self.fr_lr == 0

    def adam(self, networks: Mapping[nn.Module, float]) -> Adam:
        """One optimiser of several networks.

        Args:
            networks: To their learning rates.
        """
        groups = [{"params": list(network.parameters()), "lr": rate} for network, rate in networks.items()]
        return Adam(groups, betas=(self.beta1, 0.999), weight_decay=self.weight_decay)
