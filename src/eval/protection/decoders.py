"""How codes are turned back into embeddings by who knows the projection."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from src.eval.protection.faces import CodedFaces
from src.eval.protection.keys import fresh_projection
from src.ops.hashing import RankHash

__all__ = ["gradient_decode", "linear_decode", "records_decode"]

_STEPS = 60
_RATE = 0.1
_SPREAD = 6.0  # of the logits: symbols are then nearly certain, and still have a slope


def linear_decode(codes: Tensor, rank_hash: RankHash) -> Tensor:
    """Sum over the symbols of what speaks for each: its weights less the mean of its group.

    Args:
        codes: uint8 [B, m].
        rank_hash: What made them.

    Returns:
        float32 [B, d] directions of length 1.
    """
    groups = rank_hash.weight.unflatten(0, (-1, rank_hash.q))
    centred = (groups - groups.mean(1, keepdim=True)).flatten(0, 1)
    return F.normalize(F.one_hot(codes.long(), rank_hash.q).flatten(1).float() @ centred)


def gradient_decode(codes: Tensor, rank_hash: RankHash, norm: float) -> Tensor:
    """Embeddings of a length that explain the codes best: softmax regression from the linear guess on.

    Args:
        codes: uint8 [B, m].
        rank_hash: What made them.
        norm: Length that embeddings usually have.

    Returns:
        float32 [B, d] directions of length 1.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Tensors of a validation epoch take no part in gradients, their copies do.
        rank_hash = RankHash(rank_hash.weight.clone(), rank_hash.bias.clone(), rank_hash.q)
        size = math.sqrt(rank_hash.weight.shape[1])
        guess = (linear_decode(codes, rank_hash) * size).requires_grad_()
        sharpness = _SPREAD / _logits(F.normalize(guess.detach()) * norm, rank_hash).std().item()
        symbols = codes.long().flatten()
        # Every coordinate is about 1, so that a step means the same whatever the embeddings' scale is.
        optimizer = torch.optim.Adam([guess], _RATE)
        for _ in range(_STEPS):
            logits = sharpness * _logits(F.normalize(guess) * norm, rank_hash)
            loss = F.cross_entropy(logits.flatten(0, 1), symbols, reduction="sum") / len(codes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return F.normalize(guess.detach())


def records_decode(faces: CodedFaces, images: Tensor, records: Sequence[int], seed: int) -> dict[int, Tensor]:
    """Decode several codes of each face, each made under a random projection of its own that is known.

    Args:
        faces: Theirs are the embeddings.
        images: int64 [B], numbers of those to decode.
        records: Numbers K of codes of a face, ascending.
        seed: Of the projections.

    Returns:
        By K: float32 [B, d] directions of length 1.
    """
    embeddings, total, found = faces.embeddings[images], torch.zeros(()), {}
    for number in range(1, max(records) + 1):
        projection = fresh_projection(faces.rank_hash, seed + number)
        total = total + linear_decode(projection.codes(embeddings), projection)
        if number in records:
            found[number] = F.normalize(total)
    return found


def _logits(embeddings: Tensor, rank_hash: RankHash) -> Tensor:
    """[B, m, q], of each group the mean is 0."""
    logits = F.linear(embeddings, rank_hash.weight, rank_hash.bias).unflatten(-1, (-1, rank_hash.q))
    return logits - logits.mean(-1, keepdim=True)
