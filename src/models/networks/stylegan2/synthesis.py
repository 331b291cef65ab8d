"""The synthesis network: styles to a pair of images, in visible light and in the near infrared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.models.networks.stylegan2.resolutions import ResolutionPlan
from src.models.networks.stylegan2.synthesis_block import VIS_CHANNELS, SynthesisBlock

__all__ = ["ARCHITECTURES", "SynthesisNetwork"]

ARCHITECTURES = ("skip", "orig", "resnet")


class SynthesisNetwork(nn.Module):
    """One trunk for both spectra; at every resolution two heads read the same feature map with the same w.

    Args:
        plan: Channels and precision.
        w_dim: Length of w.
        architecture: One of `ARCHITECTURES`; see `SynthesisBlock`.

    Attributes:
        num_ws: How many w it takes; neighbouring blocks share one.
    """

    def __init__(self, plan: ResolutionPlan, w_dim: int = 512, architecture: str = "skip") -> None:
        super().__init__()
        check_choice("architecture", architecture, ARCHITECTURES)
        self.resolution, self.w_dim, self.resolutions = plan.resolution, w_dim, plan.resolutions
        for resolution in plan.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(plan, resolution, w_dim, architecture))
        self.num_ws = sum(block.num_conv for block in self._blocks()) + 1

    def _blocks(self) -> Iterator[SynthesisBlock]:
        for resolution in self.resolutions:
            yield cast(SynthesisBlock, self.get_submodule(f"b{resolution}"))

    def forward(self, ws: Tensor, noise_mode: str = "random", force_fp32: bool = False) -> tuple[Tensor, Tensor]:
        """Make images.

        Args:
            ws: float32 [N, num_ws, w_dim].
            noise_mode: ``"random"`` draws it, ``"const"`` is the same at every call, ``"none"``.
            force_fp32: Compute all in float32, whatever the precision of the network.

        Returns:
            Visible light [N, 3, R, R] and near infrared [N, 1, R, R], float32, nominally in [-1, 1] but unbounded.

        Raises:
            UserError: If ``ws`` has another shape or ``noise_mode`` is unknown.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise UserError(f"ws: expected [N, {self.num_ws}, {self.w_dim}], found {list(ws.shape)}")
        x, image, first = None, None, 0
        for block in self._blocks():
            x, image = block(x, image, ws[:, first : first + block.num_ws], noise_mode, force_fp32)
            first += block.num_conv
        assert image is not None
        return image[:, :VIS_CHANNELS], image[:, VIS_CHANNELS:]
