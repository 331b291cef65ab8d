"""PartialFC: a margin head whose classes are shared out between processes and sampled.

An et al. 2022, "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial
FC". Every process holds the centres of some classes and compares the embeddings of all processes with them. A row needs
two numbers of that: the cosine with its own class, and the logarithm of the sum over all others. Both are added over
the processes at once. Then the margin and the cross entropy are those of a head with two classes, which every process
computes for its own rows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from src.errors import UserError
from src.losses.adaptive_heads import AdaFaceHead, MagFaceHead
from src.losses.class_shard import ClassShard, mix, sample_classes
from src.losses.elastic_heads import ElasticHead
from src.losses.heads import AdditiveMarginHead, HeadOutput, MarginHead
from src.losses.sphereface_heads import SphereFaceRHead
from src.ops.collectives import (
    count_rows,
    gather_over_processes,
    join_rows,
    own_rows,
    process_count,
    sum_over_processes,
)
from src.ops.softmax_blocks import Operands, RowGradients, compare, differentiate

__all__ = ["PartialFC", "check_shardable"]

_SHARDABLE = (AdditiveMarginHead, AdaFaceHead, ElasticHead, MagFaceHead, SphereFaceRHead)
_MAX_SCALE = 600.0  # sums of exponentials of logits are exact in float64 up to here


def check_shardable(head: MarginHead, sample_rate: float) -> None:
    """Raise UserError if PartialFC cannot compute the loss of a head, or the rate is no share."""
    if not 0 <= sample_rate <= 1:
        raise UserError(
            f"model.partial_fc={sample_rate}: expected a share from 0 to 1, or null for a head that is whole"
        )
    if not isinstance(head, _SHARDABLE):
        raise UserError(
            f"model.partial_fc={sample_rate}: {type(head).__name__} changes more than the logit of a sample's own "
            "class, so its classes cannot be shared out. Choose loss=adaface, arcface, combined, cosface, "
            "elastic_arcface, elastic_cosface, magface, softmax or sphereface_r, or set model.partial_fc=null"
        )
    if head.scale > _MAX_SCALE:
        raise UserError(f"loss.scale={head.scale}: expected at most {_MAX_SCALE:g} with model.partial_fc")


class PartialFC:
    """Loss of a head that has the centres of this process's classes only.

    The gradient of the centres is that of the joined batch. Those of what is before it are so after data-parallel
    training has taken the mean over the processes. Both equal those of the whole head if all classes are compared with.

    Args:
        head: Its ``weight`` is [len(shard), D].
        shard: Its classes.
        sample_rate: Share of the classes that a batch is compared with, drawn anew for every batch; the classes of the
            batch are always among them. The others get a gradient of 0, so momentum and weight decay still move them.
        seed: Of the draws, which differ between processes.

    Attributes:
        seed: As given.
        draws: Batches that classes were drawn for; with the seed the state of the generator.
    """

    def __init__(self, head: MarginHead, shard: ClassShard, sample_rate: float = 1.0, seed: int = 0) -> None:
        check_shardable(head, sample_rate)
        self.head = head
        self.shard = shard
        self.sample_rate = sample_rate
        self.seed = seed
        self.draws = 0

    def __call__(self, embedding: Tensor, target: Tensor) -> HeadOutput:
        """Compute the loss of the batches of all processes together; each has to call it.

        Args:
            embedding: Float [B,D], of any precision, not normalised; B may differ between the processes and be 0.
            target: int64 [B] in [0, C); not changed.

        Returns:
            The same in every process: the mean over all rows.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            return self._output(embedding.to(torch.promote_types(embedding.dtype, torch.float32)), target)

    def _output(self, embedding: Tensor, target: Tensor) -> HeadOutput:
        rows = count_rows(embedding)
        embeddings = gather_over_processes(embedding, rows)
        weight, local = self._choose(self.shard.local(join_rows(target, rows)))
        threshold = self.head.filter_threshold if self.head.filter_threshold > 0 else math.inf
        cosine, others = _Compare.apply(embeddings, weight, local, self.head.scale, threshold)
        own = own_rows(torch.stack([cosine, others / self.head.scale], dim=1), rows)
        # A class whose logit is the logarithm of the others' sum of exponentials stands for them.
        mean = self.head.loss(own, torch.zeros_like(target), embedding.norm(dim=1).to(own.dtype))
        total = mean * len(own) if len(own) else own.sum()
        loss = sum_over_processes(total) / sum(rows)
        return HeadOutput(loss.to(embedding.dtype), cosine.detach().mean().to(embedding.dtype))

    def _choose(self, local: Tensor) -> tuple[Tensor, Tensor]:
        """Centres to compare with, [n,D], and the position of each row's class among them."""
        weight = self.head.weight
        if self.sample_rate == 1:
            return weight, local
        generator = torch.Generator(local.device).manual_seed(mix(self.seed, self.shard.rank, self.draws))
        self.draws += 1
        chosen = sample_classes(local, len(weight), self.sample_rate, generator)
        return weight.index_select(0, chosen), torch.where(local >= 0, torch.searchsorted(chosen, local), -1)


class _Compare(torch.autograd.Function):
    """Cosine with the own class, and log of the sum of ``exp(scale * cosine)`` over all others; float64 [B] each."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, weight: Tensor, target: Tensor, scale: float, threshold: float
    ) -> tuple[Tensor, Tensor]:
        totals = embeddings.new_zeros(2, len(embeddings), dtype=torch.float64)
        kept: tuple[Tensor, ...] = ()
        if len(weight):
            operands = Operands(embeddings, weight)
            cosines, inverse_norms, greatest, others = compare(operands, target, scale, threshold)
            index = target.clamp(min=0)
            cosine = (operands.unit * operands.classes(index)).sum(1).mul_(inverse_norms[index]).clamp_(-1, 1)
            totals[0] = torch.where(target >= 0, cosine, 0)
            totals[1] = others.double() * (scale * greatest.double()).exp()
            kept = (cosines, inverse_norms, greatest)
        if process_count() > 1:
            distributed.all_reduce(totals)
        log_others = totals[1].clamp(min=torch.finfo(totals.dtype).tiny).log()
        ctx.save_for_backward(embeddings, weight, target, log_others, *kept)
        ctx.scale, ctx.threshold = scale, threshold
        return totals[0], log_others

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_cosine: Tensor, of_others: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, weight, target, log_others, *kept = ctx.saved_tensors
        if not kept:
            return torch.zeros_like(embeddings), torch.zeros_like(weight), None, None, None
        cosines, inverse_norms, greatest = kept
        count = process_count()  # the loss counted once for each; no mean is taken over the centres
        factor = of_others * ctx.scale * (ctx.scale * greatest.double() - log_others).exp()
        rows = RowGradients(greatest, (factor / count).to(greatest), (of_cosine / count).to(greatest))
        of_embeddings, of_weight = torch.empty_like(embeddings), torch.empty_like(weight)
        differentiate(
            Operands(embeddings, weight), cosines, inverse_norms, target,
            rows, ctx.scale, ctx.threshold, of_embeddings, of_weight,
        )  # fmt: skip
        return of_embeddings.mul_(count), of_weight, None, None, None
