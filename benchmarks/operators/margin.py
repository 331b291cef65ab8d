"""Margin cross entropy with its gradients, against the two formulations that are in use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from rich.filesize import decimal
from torch import Tensor

from benchmarks.operators.measure import Case, peak_memory
from src.ops.margin_softmax import margin_cross_entropy

__all__ = ["cases", "notes"]

BATCH, CLASSES, SIZE = 128, 85_742, 512
SCALE, MARGIN = 64.0, 0.5

# In training this memory comes anew from the system every step; how little of it is needed is the point.
DEFAULT_ALLOCATOR = True

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def cases() -> list[Case]:
    """Loss and both gradients, float32 and with bfloat16 products, on the GPU too where there is one."""
    wanted = [(torch.float32, insightface, 2.5), (torch.float32, arcface_tf2, None), (torch.bfloat16, insightface, 3.0)]
    return [
        Case(f"{device}, {name(kind)}, against {peer.__name__}", step(ours, device, kind), step(peer, device, kind),
             target=target if device == "cpu" else None, device=device)
        for device in (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
        for kind, peer, target in wanted
    ]  # fmt: skip


def notes() -> list[str]:
    """Memory of a step beyond the inputs and their gradients."""
    gradients = 4 * (BATCH + CLASSES) * SIZE
    lines = [f"batch {BATCH}, {CLASSES:,} classes, {SIZE} values; a float32 [B,C] has {decimal(4 * BATCH * CLASSES)}"]
    for kind in (torch.float32, torch.bfloat16):
        for loss in (ours, insightface, arcface_tf2):
            extra = peak_memory(step, loss, "cpu", kind) - gradients
            lines.append(f"{name(kind)}, {loss.__name__}: {decimal(extra)} at the peak, beyond inputs and gradients")
    return lines


def name(kind: torch.dtype) -> str:
    """Of a type, without the module."""
    return str(kind).removeprefix("torch.")


def step(loss: Loss, device: str, kind: torch.dtype) -> Callable[[], None]:
    """A call of the loss and its backward pass under autocast to ``kind``; what it needs at first use is loaded."""
    step_of(loss, 2, 3, device, kind)()
    return step_of(loss, BATCH, CLASSES, device, kind)


def step_of(loss: Loss, batch: int, classes: int, device: str, kind: torch.dtype) -> Callable[[], None]:
    """The same for a problem of any size."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(batch, SIZE, generator=generator).to(device).requires_grad_()
    weight = torch.randn(classes, SIZE, generator=generator).mul_(0.01).to(device).requires_grad_()
    target = torch.randint(0, classes, (batch,), generator=generator).to(device)

    def run() -> None:
        embeddings.grad = weight.grad = None
        with torch.autocast(device, kind, enabled=kind != torch.float32):
            value = loss(embeddings, weight, target)
        value.backward()

    return run


def ours(embeddings: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """The operator."""
    return margin_cross_entropy(embeddings, weight, target, scale=SCALE, angle_margin=MARGIN)[0]


def insightface(embeddings: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Normalised copies, the angles of all classes, changed in place, and a cross entropy on the softmax."""
    logits = F.linear(F.normalize(embeddings), F.normalize(weight)).float().clamp(-1, 1)
    present = torch.where(target != -1)[0]
    own = logits[present, target[present]]
    with torch.no_grad():
        own.arccos_()
        logits.arccos_()
        logits[present, target[present]] = own + MARGIN
        logits.cos_()
    return _PeerCrossEntropy.apply(logits * SCALE, target[:, None])


class _PeerCrossEntropy(torch.autograd.Function):
    """Softmax in place, and the gradient made from it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        greatest = logits.max(dim=1, keepdim=True).values
        logits.sub_(greatest)
        logits.exp_()
        logits.div_(logits.sum(dim=1, keepdim=True))
        present = torch.where(target != -1)[0]
        probability = logits.new_zeros(logits.shape[0], 1)
        probability[present] = logits[present].gather(1, target[present])
        ctx.save_for_backward(present, logits, target)
        return probability.clamp_min_(1e-30).log_().mean().neg()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        present, logits, target = ctx.saved_tensors
        one_hot = logits.new_zeros(len(present), logits.shape[1])
        one_hot.scatter_(1, target[present], 1)
        logits[present] -= one_hot
        logits.div_(logits.shape[0])
        return logits * gradient.item(), None


def arcface_tf2(embeddings: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Cosines with and without the margin for every class, chosen from by a one-hot mask."""
    cosine = F.linear(F.normalize(embeddings), F.normalize(weight)).float()
    sine = (1 - cosine.square()).clamp(min=0).sqrt()
    shifted = math.cos(MARGIN) * cosine - math.sin(MARGIN) * sine
    shifted = torch.where(cosine > math.cos(math.pi - MARGIN), shifted, cosine - math.sin(math.pi - MARGIN) * MARGIN)
    logits = SCALE * torch.where(F.one_hot(target, len(weight)) == 1, shifted, cosine)
    return F.cross_entropy(logits, target)
