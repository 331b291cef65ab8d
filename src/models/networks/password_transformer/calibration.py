"""Fixed statistics for the batch norms of a password transformer, so that a single face feels its password.

With the statistics of its own batch a batch norm takes away what all passwords have in common. One face, or one
password for all, then comes out the same under every password, and every face depends on the others in its batch.
Networks trained in that way, the published ones too, are used with statistics that are measured once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.password_transformer.sampling import draw_passwords
from src.models.networks.password_transformer.transformer import PasswordTransformer

__all__ = ["calibrate", "calibration", "has_batch_norms", "load_calibration"]

_BATCHES, _FACES = 16, 8
"""Least numbers of batches and of faces in each."""
_STATISTICS = ("running_mean", "running_var")


def has_batch_norms(transformer: nn.Module) -> bool:
    """Whether a transformer has to be calibrated before it is used on single faces."""
    return bool(_norms(transformer))


@torch.no_grad()
def calibrate(
    transformer: PasswordTransformer, batches: Iterable[Tensor], generator: torch.Generator | None = None
) -> None:
    """Measure the statistics of all batch norms, which evaluation mode then uses; training mode never does.

    Every batch is anonymised, recovered, and recovered with wrong passwords, as in training. Statistics are plain
    averages over all those passes of each pass's mean and unbiased variance.

    Args:
        transformer: With batch norms; in evaluation mode afterwards.
        batches: Different faces, at least 16 batches of at least 8, each [B, 3, H, W].
        generator: For the passwords, on the CPU; None for the global one.

    Raises:
        UserError: The transformer has no batch norms, or there are too few faces.
    """
    if not has_batch_norms(transformer):
        raise UserError("calibration: the network has no batch norms: its faces do not depend on each other as it is")
    measured = copy.deepcopy(transformer).eval()
    for norm in _norms(measured).values():
        _set(norm, torch.zeros_like(norm.weight), torch.ones_like(norm.weight))
        norm.train()
        norm.track_running_stats, norm.momentum, norm.num_batches_tracked = True, None, torch.tensor(0)
    count = 0
    for images in batches:
        if len(images) < _FACES:
            raise UserError(f"calibration: expected batches of at least {_FACES} faces, found {len(images)}")
        _pass(measured, images, generator)
        count += 1
    if count < _BATCHES:
        raise UserError(f"calibration: expected at least {_BATCHES} batches, found {count}")
    load_calibration(transformer, calibration(measured))
    transformer.eval()


def calibration(transformer: PasswordTransformer) -> dict[str, Tensor]:
    """Statistics that `calibrate` measured: name → [C], empty before; the state dict is without them."""
    return {
        f"{name}.{statistic}": getattr(norm, statistic)
        for name, norm in _norms(transformer).items()
        for statistic in _STATISTICS
        if getattr(norm, statistic) is not None
    }


def load_calibration(transformer: PasswordTransformer, statistics: Mapping[str, Tensor]) -> None:
    """Put statistics back that `calibration` told; none at all return to those of each batch.

    Raises:
        UserError: They are of another network.
    """
    norms = _norms(transformer)
    expected = {f"{name}.{statistic}": norm.weight.shape for name, norm in norms.items() for statistic in _STATISTICS}
    found = {name: value.shape for name, value in statistics.items()}
    if found and found != expected:
        raise UserError(
            f"calibration: expected statistics of {len(norms)} batch norms ({', '.join(list(expected)[:2])}, ...), "
            f"found {len(found)} values ({', '.join(list(found)[:2])}, ...); calibrate the network anew"
        )
    for name, norm in norms.items():
        mean, variance = (statistics.get(f"{name}.{statistic}") for statistic in _STATISTICS)
        _set(norm, mean, variance)


def _pass(transformer: PasswordTransformer, images: Tensor, generator: torch.Generator | None) -> None:
    drawn = draw_passwords(len(images), transformer.length, generator=generator).to(images.device)
    anonymised = transformer(images, drawn.first)
    transformer(anonymised, drawn.recovery)
    transformer(anonymised, drawn.wrong)


def _norms(transformer: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: module for name, module in transformer.named_modules() if isinstance(module, nn.BatchNorm2d)}


def _set(norm: nn.BatchNorm2d, mean: Tensor | None, variance: Tensor | None) -> None:
    for name, value in zip(_STATISTICS, (mean, variance), strict=True):
        norm.register_buffer(name, None if value is None else value.detach().to(norm.weight).clone(), persistent=False)
