"""Style mixing: images whose coarse and fine styles come from two latent codes (Karras et al. 2019, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["mixed_styles"]


def mixed_styles(mapping: nn.Module, z: Tensor, c: Tensor | None = None, probability: float = 0.9) -> Tensor:
    """Map latent codes to w; perhaps all layers from a random one on take theirs from a second code.

    The whole batch is decided on at once, without waiting for the device. The second code counts not for the average
    of w.

    Args:
        mapping: A `MappingNetwork`, or a wrapper around one.
        z: Latent codes [N, z_dim].
        c: Conditions [N, c_dim], the same for both codes.
        probability: How often to mix; at 0 nothing is drawn.

    Returns:
        [N, num_ws, w_dim].
    """
    ws = mapping(z, c)
    if probability <= 0:
        return ws
    layers = ws.shape[1]
    cutoff = torch.empty((), dtype=torch.int64, device=ws.device).random_(1, layers)
    mixed = torch.rand((), device=ws.device) < probability
    second = mapping(torch.randn_like(z), c, update_w_avg=False)
    from_second = mixed & (torch.arange(layers, device=ws.device) >= cutoff)
    return torch.where(from_second[:, None], second, ws)
