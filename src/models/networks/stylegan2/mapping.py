"""The mapping network: latent codes and conditions to styles.

Karras et al. 2019, "A style-based generator architecture for generative adversarial networks", section 2; truncation
is described in its appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.stylegan2.layers import FullyConnected

__all__ = ["MappingNetwork", "normalize_second_moment"]

W_AVERAGE_DECAY = 0.995
LR_MULTIPLIER = 0.01


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale every row of [N, D] to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """Fully connected layers over a latent code, a condition, or both; what it yields is written w.

    Args:
        z_dim: Length of the latent code; 0 for none.
        c_dim: Length of the condition; 0 for none.
        w_dim: Length of w and of all layers between.
        num_ws: Give w once for each of so many layers, and keep its moving average for truncation; None for neither.
        num_layers: Number of layers after the embedding of the condition.

    Raises:
        UserError: If there is neither a code nor a condition.
    """

    w_avg: Tensor

    def __init__(
        self, z_dim: int, c_dim: int, w_dim: int = 512, num_ws: int | None = None, num_layers: int = 8
    ) -> None:
        super().__init__()
        if z_dim == 0 and c_dim == 0:
            raise UserError("z_dim, c_dim: one of them is expected above 0, found 0 and 0")
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.num_layers = z_dim, c_dim, w_dim, num_ws, num_layers
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, w_dim)
        in_features = z_dim + (w_dim if c_dim > 0 else 0)
        for index in range(num_layers):
            self.add_module(f"fc{index}", FullyConnected(in_features, w_dim, "lrelu", LR_MULTIPLIER))
            in_features = w_dim
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = True,
    ) -> Tensor:
        """Map codes and conditions to w.

        Args:
            z: float [N, z_dim], from N(0, 1); ignored if ``z_dim`` is 0.
            c: float [N, c_dim]; ignored if ``c_dim`` is 0. Its length counts: it is not normalised before the
                embedding.
            truncation_psi: Draw w towards its average; 1 leaves it, 0 is the average.
            truncation_cutoff: Do so for the first so many layers only.
            update_w_avg: Let the batch count for the average, in training mode.

        Returns:
            [N, num_ws, w_dim], or [N, w_dim] without ``num_ws``.

        Raises:
            UserError: If a code or condition is missing or has another length.
        """
        inputs = []
        if self.z_dim > 0:
            inputs.append(normalize_second_moment(_checked("z", z, self.z_dim)))
        if self.c_dim > 0:
            inputs.append(normalize_second_moment(self.embed(_checked("c", c, self.c_dim))))
        w = torch.cat(inputs, dim=1)
        for index in range(self.num_layers):
            w = self.get_submodule(f"fc{index}")(w)
        if self.num_ws is None:
            return w
        if self.training and update_w_avg:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, W_AVERAGE_DECAY))
        return self._truncated(w[:, None].expand(-1, self.num_ws, -1), truncation_psi, truncation_cutoff)

    def _truncated(self, ws: Tensor, psi: float, cutoff: int | None) -> Tensor:
        if psi == 1:
            return ws
        amount = torch.ones(ws.shape[1], 1, dtype=ws.dtype, device=ws.device)
        amount[:cutoff] = psi
        return self.w_avg.lerp(ws, amount)


def _checked(name: str, value: Tensor | None, length: int) -> Tensor:
    if value is None or value.ndim != 2 or value.shape[1] != length:
        found = "none" if value is None else str(list(value.shape))
        raise UserError(f"{name}: expected [N, {length}], found {found}")
    return value.to(torch.promote_types(value.dtype, torch.float32))
