"""Loading backbone weights from published files and from our own checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from src.errors import UserError

__all__ = ["describe_architecture", "load_weights", "read_weights"]

Weights = dict[str, Tensor]

# What wraps a backbone: DistributedDataParallel, our and CVLface's training modules, torch.compile.
PREFIXES = ("module.", "backbone.", "net.", "_orig_mod.")
# Where a training checkpoint keeps its weights: Lightning, arcface_torch.
CONTAINERS = ("state_dict", "state_dict_backbone")

IRESNET_DEPTHS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "iresnet18",
    (3, 4, 6, 3): "iresnet34",
    (3, 4, 14, 3): "iresnet50",
    (3, 13, 30, 3): "iresnet100",
    (6, 26, 60, 6): "iresnet200",
}
CVLFACE_DEPTHS = {8: "ir_18", 16: "ir_34", 24: "ir_50", 49: "ir_101"}
MOBILEFACENET_SIZES = {333: "mbf", 606: "mbf_large"}


def load_weights(backbone: nn.Module, path: Path | str) -> None:
    """Fill a backbone from a file, all of it or not at all.

    Args:
        backbone: The network to fill, in place.
        path: A ``.safetensors`` file, or a file of ``torch.save`` with a state dict or a training checkpoint.
            Wrappers' prefixes are dropped, and so are weights beside the backbone's, such as the head's.

    Raises:
        UserError: If the file cannot be read, or its weights are not exactly this backbone's.
    """
    weights = read_weights(path)
    expected = backbone.state_dict()
    problem = _mismatch(weights, expected)
    if problem:
        raise UserError(
            f"{path} does not fit the backbone.\n"
            f"  the file holds:  {describe_architecture(weights)}\n"
            f"  the backbone is: {describe_architecture(expected)}\n"
            f"  {problem}\n"
            "Choose the backbone the file was made with, or another file."
        )
    backbone.load_state_dict(weights)


def read_weights(path: Path | str) -> Weights:
    """Read a state dict from a file, without running any code in it, and drop wrappers' prefixes.

    Args:
        path: A ``.safetensors`` file, or a file of ``torch.save``.

    Returns:
        Name → tensor, on the CPU.

    Raises:
        UserError: If the file is missing, damaged, holds objects of other classes, or no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights file at {path}")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # damaged bytes make either reader fail in many ways, IndexError among them
        raise UserError(
            f"{path} is damaged, or is not a weights file that can be read safely: "
            "expected .safetensors, or a file of torch.save with nothing but tensors and plain values"
        ) from error
    container = next((name for name in CONTAINERS if isinstance(content, dict) and name in content), None)
    weights = content[container] if container else content
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} holds no state dict: a mapping from names to tensors, or one as 'state_dict'")
    return _strip_prefixes(dict(weights))


def describe_architecture(weights: Mapping[str, Tensor]) -> str:
    """Name the architecture that a state dict belongs to, from its names.

    Args:
        weights: A state dict without prefixes.

    Returns:
        Such as ``"iresnet50 (arcface_torch names, 475 entries)"``; for an unknown one its first names.
    """
    count = len(weights)
    if "layer1.0.conv1.weight" in weights and "features.running_mean" in weights:
        depth = tuple(_blocks(weights, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
        name = IRESNET_DEPTHS.get(depth, f"an IResNet of {depth} blocks")
        return f"{name} (arcface_torch names, {count} entries)"
    if "input_layer.0.weight" in weights:
        blocks = _blocks(weights, r"body\.(\d+)\.")
        simple = not any(re.match(r"body\.\d+\.res_layer\.(6|7)\.", name) for name in weights)
        known = CVLFACE_DEPTHS.get(blocks) if simple else None
        name = known or f"{'' if simple else 'bottleneck or SE '}IR of {blocks} blocks"
        return f"{name} (CVLface names, {count} entries)"
    if "conv_sep.layers.0.weight" in weights:
        return f"{MOBILEFACENET_SIZES.get(count, 'a MobileFaceNet')} (arcface_torch names, {count} entries)"
    if any(name.startswith("trunk.") for name in weights):
        return f"a timm backbone ({count} entries)"
    if "layers.2.reduce.0.0.weight" in weights:
        return f"MiniFaceNet ({count} entries)"
    return f"an unknown architecture ({count} entries: {', '.join(list(weights)[:4])}, ...)"


def _blocks(weights: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in weights if (match := re.match(pattern, name))})


def _strip_prefixes(weights: Weights) -> Weights:
    """Drop prefixes until none is left; names without the prefix that others have are not the backbone's."""
    for prefix in PREFIXES:
        wrapped = [name for name in weights if name.startswith(prefix)]
        if wrapped:
            return _strip_prefixes({name.removeprefix(prefix): weights[name] for name in wrapped})
    return weights


def _mismatch(weights: Weights, expected: Mapping[str, Tensor]) -> str:
    """Say what keeps ``weights`` from being loaded; the empty string if nothing does."""
    missing = [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]
    extra = [name for name in weights if name not in expected]
    if missing or extra:
        return (
            f"{len(missing)} weights are missing from the file ({', '.join(missing[:3]) or 'none'}) "
            f"and {len(extra)} are unknown to the backbone ({', '.join(extra[:3]) or 'none'})"
        )
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            return (
                f"{name} has shape {tuple(value.shape)} in the file and {tuple(expected[name].shape)} "
                "in the backbone: compare embedding_size and size"
            )
    return ""
