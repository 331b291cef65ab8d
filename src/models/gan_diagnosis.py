"""Where numbers stopped being finite, when a training of a generator has to end because of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from src.datamodules.sample import Sample

if TYPE_CHECKING:
    from src.models.arcbifacegan import ArcBiFaceGAN

__all__ = ["explain_not_finite", "first_layer_not_finite"]


class _Found(Exception):
    """Carries the name of a layer out of a forward pass."""


@torch.no_grad()
def first_layer_not_finite(network: nn.Module, run: Callable[[], Any]) -> str | None:
    """Name the layer that is the first to yield what is not finite.

    Args:
        network: Its layers are watched.
        run: Calls the network.

    Returns:
        Dotted name of the innermost such module; if there is none, that of the first parameter or buffer that is not
        finite; else None.
    """

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            if any(isinstance(value, Tensor) and not value.isfinite().all() for value in tensors):
                raise _Found(name)

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        run()
    except _Found as found:
        return str(found)
    finally:
        for handle in handles:
            handle.remove()
    named = [*network.named_parameters(), *network.named_buffers()]
    return next((name for name, value in named if not value.isfinite().all()), None)


def explain_not_finite(module: ArcBiFaceGAN, batch: Sample, broken: Sequence[str], checkpoint: str | None) -> str:
    """Say what is no number any more, where it began, and how to go on.

    Args:
        module: Whose training ends; its weights are those of the iteration that failed, or one step further.
        batch: The training images.
        broken: Names of statistics that are not finite.
        checkpoint: The last one, if there is any.
    """
    where = _where(module, batch)
    kept = f"{checkpoint} is from before" if checkpoint else "there is no checkpoint yet"
    return (
        f"training stopped in iteration {int(module.iterations)}, after {int(module.images):,} images: not finite are "
        f"{', '.join(broken)}. {where}. Nothing was saved since; {kept}. Continue with ckpt_path=last and a lower "
        "model.lr, or with model.generator.precision=fp32 and the same of the discriminators"
    )


def _where(module: ArcBiFaceGAN, batch: Sample) -> str:
    for name in ("image", "nir", "feature"):
        value = batch.get(name)
        if isinstance(value, Tensor) and not value.isfinite().all():
            return f"It began in the batch: its {name} is not finite"
    z = torch.randn(len(batch["image"]), module.generator.z_dim, device=module.device)
    c = batch["feature"] if module.generator.c_dim else None
    runs: dict[str, Callable[[], Any]] = {
        "generator": lambda: module.generator(z, c),
        "discriminator": lambda: module.discriminator(batch["image"], c),
        "nir_discriminator": lambda: module.nir_discriminator(batch["nir"]),
    }
    for name, run in runs.items():
        layer = first_layer_not_finite(module.get_submodule(name), run)
        if layer is not None:
            return f"It begins in the layer {name}.{layer}"
    return "Run again on the same batch, all layers yield finite numbers: the gradients or the augmentation overflowed"
