"""Cross entropy over the cosines with class vectors, with a margin, in one [B,C] buffer.

Classes are taken in blocks that fit the cache: for a block the vectors are multiplied with the embeddings, and while
both are at hand the rows are reduced to what the softmax needs of them. The cosines are kept; the backward pass goes
through the same blocks and needs no second buffer of their size. The target's entry stands apart from the sums. That
is what makes the loss exact where it is small, ``log(1 + others / target)``, and keeps the margin out of the passes.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from src.errors import UserError, check_choice
from src.ops.library import LIBRARY, define
from src.ops.softmax_blocks import Operands, RowGradients, compare, differentiate, sum_type

__all__ = ["Gradient", "Guard", "margin_cross_entropy"]

Gradient = Literal["straight_through", "exact"]
Guard = Literal["none", "linear", "easy"]


def margin_cross_entropy(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    *,
    scale: float = 64.0,
    angle_margin: float = 0.0,
    cosine_margin: float = 0.0,
    gradient: Gradient = "straight_through",
    guard: Guard = "none",
    filter_threshold: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Cross entropy with the target's logit ``s * (cos(angle + angle_margin) - cosine_margin)``, others' ``s * cos``.

    Deng et al. 2019, "ArcFace", eq. 4 with m1 = 1: ArcFace with an angle margin, CosFace with a cosine margin, the
    normalised softmax with none. Beyond the inputs and their gradients it takes one float32 [B,C] of memory.

    Matrix products are in float32, or float64 for such inputs; in bfloat16 if the embeddings are bfloat16 or
    autocast says so. All else is in float32 even then, the target's cosine too, but at scale 64 the other logits are
    off by up to a quarter.

    Args:
        embeddings: Float [B,D], not normalised.
        weight: Class vectors, float [C,D], not normalised.
        target: int64 [B] in [0, C), or -1: the row's class is not among these, and the row does not count.
        scale: Factor s from cosines to logits.
        angle_margin: In radians.
        cosine_margin: Subtracted from the cosine.
        gradient: ``"exact"``, or ``"straight_through"``: the derivative of the target's margin counts as 1.
        guard: What replaces ``cos(angle + angle_margin)`` where it is no use. ``"linear"``: beyond
            ``pi - angle_margin``, where it would rise again, ``cos(angle) - angle_margin * sin(angle_margin)``.
            ``"easy"``: beyond ``pi / 2``, the cosine itself.
        filter_threshold: Other classes whose cosine is above it count as at a right angle, without gradient (An et
            al. 2022, "Killing Two Birds with One Stone", interclass filtering); 0 is off.

    Returns:
        The mean loss over the rows that count, 0 if none does, a scalar, float32 or float64; differentiable once.
        Then their mean cosine with the target before the margin, detached.

    Raises:
        UserError: If shapes, types, a choice, or, on the CPU, a target are not as said.
    """
    _check(embeddings, weight, target)
    check_choice("gradient", gradient, get_args(Gradient))
    check_choice("guard", guard, get_args(Guard))
    device = embeddings.device.type
    bfloat16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    if bfloat16 and embeddings.dtype != torch.float64:
        embeddings = embeddings.to(torch.bfloat16)
    threshold = filter_threshold if filter_threshold > 0 else math.inf
    loss, cosine, *_ = torch.ops.privface.margin_cross_entropy(
        embeddings, weight, target, scale, angle_margin, cosine_margin, gradient == "exact", guard, threshold
    )
    return loss, cosine


def _check(embeddings: Tensor, weight: Tensor, target: Tensor) -> None:
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise UserError(f"embeddings: expected floats [B,D], found {_describe(embeddings)}")
    if weight.ndim != 2 or not weight.is_floating_point() or weight.shape[1] != embeddings.shape[1] or not len(weight):
        raise UserError(f"weight: expected floats [C,{embeddings.shape[1]}], found {_describe(weight)}")
    if target.dtype != torch.int64 or target.shape != embeddings.shape[:1]:
        raise UserError(f"target: expected int64 [{len(embeddings)}], found {_describe(target)}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _forward(
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    scale: float,
    angle_margin: float,
    cosine_margin: float,
    exact: bool,
    guard: str,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss and mean cosine; for the backward pass cosines [B*C], 1 over the classes' norms [C], and `RowGradients`."""
    _check_range(target, len(weight))
    with torch.autocast(embeddings.device.type, enabled=False):
        operands = Operands(embeddings, weight)
        cosines, inverse_norms, greatest, others = compare(operands, target, scale, threshold)
        index = target.clamp(min=0)
        cosine = (operands.unit * operands.classes(index)).sum(1).mul_(inverse_norms[index]).clamp_(-1, 1)
        margined, slope = _add_margin(cosine, angle_margin, cosine_margin, guard)

        present = target >= 0
        share = present.to(cosine.dtype) / present.sum().clamp(min=1)
        difference = scale * (greatest - margined) + others.log()  # of all other logits together and the target's
        loss = (torch.logaddexp(difference, torch.zeros_like(difference)) * share).sum()
        # Without other classes their sum is 0, and so may be the exponential of the target.
        total = ((scale * (margined - greatest)).exp() + others).clamp(min=torch.finfo(others.dtype).tiny)
        target_gradient = -scale * share * difference.sigmoid() * (slope if exact else 1)
        rows = torch.stack(RowGradients(greatest, scale * share / total, target_gradient))
        return loss, (cosine * share).sum(), cosines, inverse_norms, rows


def _check_range(target: Tensor, classes: int) -> None:
    if target.device.type == "cpu" and target.numel():  # on a GPU it would have to be waited for
        least, greatest = (int(value) for value in target.aminmax())
        if least < -1 or greatest >= classes:
            wrong = least if least < -1 else greatest
            raise UserError(f"target: expected classes from 0 to {classes - 1}, or -1, found {wrong}")


def _add_margin(cosine: Tensor, angle_margin: float, cosine_margin: float, guard: str) -> tuple[Tensor, Tensor]:
    """The target's cosine [B] with its margins, and the derivative of that."""
    cos_margin, sin_margin = math.cos(angle_margin), math.sin(angle_margin)
    square = 1 - cosine.square()
    sine = square.clamp(min=1e-7).sqrt()
    margined = cosine * cos_margin - sine * sin_margin
    slope = cos_margin + sin_margin * torch.where(square >= 1e-7, cosine / sine, 0.0)
    if guard != "none":
        kept = cosine > (-cos_margin if guard == "linear" else 0)
        instead = cosine - angle_margin * sin_margin if guard == "linear" else cosine
        margined, slope = torch.where(kept, margined, instead), torch.where(kept, slope, 1.0)
    return margined - cosine_margin, slope


def _backward(
    gradient: Tensor,
    embeddings: Tensor,
    weight: Tensor,
    target: Tensor,
    cosines: Tensor,
    inverse_norms: Tensor,
    rows: Tensor,
    scale: float,
    threshold: float,
    of_embeddings: bool,
    of_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the embeddings and of the class vectors, empty where not asked for."""
    embedding_gradient, weight_gradient = _empty_gradients(embeddings, weight, of_embeddings, of_weight)
    greatest, factor, of_target = rows
    with torch.autocast(embeddings.device.type, enabled=False):
        differentiate(
            Operands(embeddings, weight), cosines, inverse_norms, target,
            RowGradients(greatest, factor * gradient, of_target * gradient), scale, threshold,
            embedding_gradient if of_embeddings else None, weight_gradient if of_weight else None,
        )  # fmt: skip
    return embedding_gradient, weight_gradient


def _empty_gradients(embeddings: Tensor, weight: Tensor, of_embeddings: bool, of_weight: bool) -> tuple[Tensor, Tensor]:
    return (
        embeddings.new_empty(embeddings.shape if of_embeddings else 0),
        weight.new_empty(weight.shape if of_weight else 0),
    )


define(
    "margin_cross_entropy(Tensor embeddings, Tensor weight, Tensor target, float scale, float angle_margin, "
    "float cosine_margin, bool exact, str guard, float threshold) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _forward,
)
define(
    "margin_cross_entropy_backward(Tensor gradient, Tensor embeddings, Tensor weight, Tensor target, Tensor cosines, "
    "Tensor inverse_norms, Tensor rows, float scale, float threshold, bool of_embeddings, bool of_weight) "
    "-> (Tensor, Tensor)",
    _backward,
)


@torch.library.register_fake("privface::margin_cross_entropy", lib=LIBRARY)
def _forward_fake(embeddings: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, ...]:
    batch, classes = len(embeddings), len(weight)
    shapes = [(), (), (batch * classes,), (classes,), (3, batch)]
    return tuple(embeddings.new_empty(shape, dtype=sum_type(embeddings, weight)) for shape in shapes)


@torch.library.register_fake("privface::margin_cross_entropy_backward", lib=LIBRARY)
def _backward_fake(gradient: Tensor, embeddings: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _empty_gradients(embeddings, weight, *rest[-2:])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    embeddings, weight, target, ctx.scale, *_, ctx.threshold = inputs
    _, *rest = output
    ctx.save_for_backward(embeddings, weight, target, *rest[1:])
    ctx.mark_non_differentiable(*rest)
    ctx.set_materialize_grads(False)  # a gradient of the cosines would be as large as they are


def _differentiate(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    of_embeddings, of_weight = ctx.needs_input_grad[:2]
    if gradient is None:
        return (None,) * 9
    found = torch.ops.privface.margin_cross_entropy_backward(
        gradient, *ctx.saved_tensors, ctx.scale, ctx.threshold, of_embeddings, of_weight
    )
    return found[0] if of_embeddings else None, found[1] if of_weight else None, *(None,) * 7


def _refuse(ctx: Any, *_: object) -> None:
    raise RuntimeError(
        "margin_cross_entropy can be differentiated once only; for a gradient penalty take the margins of "
        "src.losses.margins and torch.nn.functional.cross_entropy"
    )


torch.library.register_autograd("privface::margin_cross_entropy", _differentiate, setup_context=_save, lib=LIBRARY)
torch.library.register_autograd("privface::margin_cross_entropy_backward", _refuse, lib=LIBRARY)
