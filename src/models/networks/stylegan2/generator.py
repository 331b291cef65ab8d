"""The generator of ArcBiFaceGAN: StyleGAN2 with two output images."""

from __future__ import annotations

from torch import Tensor, nn

from src.models.networks.stylegan2.mapping import MappingNetwork
from src.models.networks.stylegan2.resolutions import ResolutionPlan
from src.models.networks.stylegan2.synthesis import SynthesisNetwork

__all__ = ["Generator"]


class Generator(nn.Module):
    """Mapping and synthesis network. Names and shapes in the state dict are those of the published weights.

    Args:
        resolution: Height and width of the images, a power of two from 8.
        z_dim: Length of the latent code.
        w_dim: Length of w.
        c_dim: Length of the condition, an identity feature; 0 for none.
        mapping_layers: Layers of the mapping network.
        channel_base: Channels at a resolution are this divided by the resolution,
        channel_max: but no more than this.
        architecture: ``"skip"``, ``"orig"`` or ``"resnet"``.
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
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "skip",
        precision: str = "fp32",
        num_reduced_resolutions: int = 4,
        conv_clamp: float | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        plan = ResolutionPlan(
            resolution=resolution,
            channel_base=channel_base,
            channel_max=channel_max,
            precision=precision,
            num_reduced_resolutions=num_reduced_resolutions,
            conv_clamp=conv_clamp,
            channels_last=channels_last,
        )
        self.resolution, self.z_dim, self.w_dim, self.c_dim = resolution, z_dim, w_dim, c_dim
        self.synthesis = SynthesisNetwork(plan, w_dim, architecture)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, mapping_layers)

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "random",
        force_fp32: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Make images.

        Args:
            z: Latent codes [N, z_dim], from N(0, 1).
            c: Conditions [N, c_dim]; ignored without ``c_dim``.
            truncation_psi: Draw w towards its average; 1 leaves it.
            truncation_cutoff: Do so for the first so many layers only.
            noise_mode: ``"random"``, ``"const"`` or ``"none"``.
            force_fp32: Compute all in float32, whatever the precision of the network.

        Returns:
            Visible light [N, 3, R, R] and near infrared [N, 1, R, R], float32, nominally in [-1, 1] but unbounded.

        Raises:
            UserError: If codes or conditions are missing or have another length.
        """
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, noise_mode, force_fp32)
