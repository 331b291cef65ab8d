"""How well faces are recovered with the right password but for some bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.eval.anonymization.interfaces import Faces
from src.eval.anonymization.recognition import similarity
from src.eval.anonymization.suite import Networks
from src.progress import image_progress

__all__ = ["FlippedBits", "flip_bits"]


@dataclass(frozen=True)
class FlippedBits:
    """Recovery of N faces with k of L bits flipped, k = 0 .. L.

    Attributes:
        similarity: Float64 [L + 1, N] cosine to the originals with k random bits flipped.
        l1: Float32 [L + 1, N] mean absolute difference to the originals, on a scale of pixels from 0 to 1.
        single: Float64 [L, N] cosine to the originals with just that bit flipped, the most significant first.
    """

    similarity: Tensor
    l1: Tensor
    single: Tensor

    @property
    def worst_bit(self) -> int:
        """The bit that matters least: without it most of the face is recovered."""
        return int(self.single.mean(1).argmax())

    def success(self, threshold: float) -> Tensor:
        """Share [L + 1] of faces that are recovered as the original, float64."""
        return (self.similarity >= threshold).double().mean(1)

    def metrics(self, thresholds: dict[str, float]) -> dict[str, float]:
        """At 0, 1, 2, 4, 8, ... and L flipped bits, and of the worst single one.

        Args:
            thresholds: See `src.eval.anonymization.recognition.thresholds_of`; successes are at the last one.
        """
        (key, threshold), length = list(thresholds.items())[-1], len(self.single)
        counts = [0, *(2**power for power in range(length.bit_length()) if 2**power < length), length]
        share = self.success(threshold)
        return {
            **{f"bitflip_cos@{count}": float(self.similarity[count].mean()) for count in counts},
            **{f"bitflip_l1@{count}": float(self.l1[count].mean()) for count in counts},
            **{f"bitflip_success@{count}": float(share[count]) for count in counts},
            "worst_bit": float(self.worst_bit),
            "worst_bit_cos": float(self.single[self.worst_bit].mean()),
            f"worst_bit_success@{key}": float((self.single[self.worst_bit] >= threshold).double().mean()),
        }


def flip_bits(
    networks: Networks, faces: Faces, anonymised: Tensor, bits: Tensor, generator: torch.Generator
) -> FlippedBits:
    """Recover faces with passwords that are nearly right.

    Args:
        networks: Transformer and recogniser.
        faces: The originals.
        anonymised: What the transformer made of them.
        bits: The passwords that it took, bool [N, L].
        generator: Chooses which bits are flipped, anew for every face and number; on the CPU.
    """
    count, length = bits.shape
    originals = networks.embed(*faces)

    def recover(flipped: Tensor) -> tuple[Tensor, Tensor]:
        recovered = networks.transform(anonymised, ~bits ^ flipped)
        difference = (recovered - faces.images).abs().mean((1, 2, 3)) / 2
        progress.advance(task, count)
        return similarity(originals, networks.embed(recovered, faces.landmarks)), difference

    with image_progress() as progress:
        task = progress.add_task("flipping bits of passwords", total=count * (2 * length + 1))
        order = [torch.rand(count, length, generator=generator).argsort(1) for _ in range(length + 1)]
        curve = [recover(order[number] < number) for number in range(length + 1)]
        single = [recover(torch.arange(length).expand(count, -1) == bit)[0] for bit in range(length)]
    scores, differences = (torch.stack(values) for values in zip(*curve, strict=True))
    return FlippedBits(scores, differences, torch.stack(single))
