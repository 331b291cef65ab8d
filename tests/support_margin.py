"""Problems for the margin cross entropy, and its definition."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from src.losses import margins

ARCFACE = {"angle_margin": 0.5}
EXACT: dict[str, Any] = {"angle_margin": 0.5, "gradient": "exact"}
SETTINGS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "cosface": {"cosine_margin": 0.4},
    "arcface": ARCFACE,
    "exact": EXACT,
    "linear": EXACT | {"guard": "linear"},
    "easy": EXACT | {"guard": "easy"},
    "both margins": EXACT | {"angle_margin": 0.3, "cosine_margin": 0.2},
    "filtered": ARCFACE | {"filter_threshold": 0.1},
    "large scale": EXACT | {"scale": 3000.0},
}


def formulation(embeddings: Tensor, weight: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """The definition, from `margins`, over the rows whose target is here."""
    scale, threshold = options.get("scale", 64.0), options.get("filter_threshold", 0.0)
    here = target >= 0
    embeddings, target = embeddings[here], target[here]
    cosine = F.linear(F.normalize(embeddings), F.normalize(weight)).clamp(-1, 1)
    mean_cosine = margins.target_cosine(cosine.detach(), target).mean()
    if threshold:
        cosine = margins.filter_interclass(cosine, target, threshold)
    gradient, guard = options.get("gradient", "straight_through"), options.get("guard", "none")
    turned = margins.arcface(cosine, target, options.get("angle_margin", 0.0), gradient, guard)
    logits = scale * margins.cosface(turned, target, options.get("cosine_margin", 0.0))
    return F.cross_entropy(logits, target), mean_cosine


def problem(batch: int, classes: int, size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of any length, some near their class, some opposite to it, one without."""
    generator = torch.Generator().manual_seed(batch + classes)
    weight = 0.01 * torch.randn(classes, size, generator=generator)
    target = torch.randint(0, classes, (batch,), generator=generator)
    noise, nearness = torch.randn(batch, size, generator=generator), torch.linspace(-400, 400, batch)[:, None]
    embeddings = 3 * (noise + nearness * weight[target])
    target[batch // 2] = -1
    return embeddings.to(dtype), weight.to(dtype), target


def with_gradients(function: Any, embeddings: Tensor, weight: Tensor, target: Tensor, **options: Any) -> list[Tensor]:
    """Loss, mean cosine, and the gradients of embeddings and class vectors."""
    embeddings, weight = embeddings.clone().requires_grad_(), weight.clone().requires_grad_()
    loss, cosine = function(embeddings, weight, target, **options)
    loss.backward()
    return [loss.detach(), cosine, embeddings.grad, weight.grad]


def relative(found: Tensor, expected: Tensor) -> float:
    """Length of the difference over that of what was expected."""
    return ((found.double() - expected).norm() / expected.norm().clamp(min=1e-30)).item()
