"""Loading the weights of networks from published files and from our own checkpoints."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from src.errors import UserError

__all__ = [
    "describe_architecture",
    "fingerprint",
    "load_weights",
    "read_checkpoint",
    "read_weights",
    "weights_fingerprint",
]

Weights = dict[str, Tensor]

# What wraps a backbone: DistributedDataParallel, our and CVLface's training modules, torch.compile.
PREFIXES = ("module.", "backbone.", "net.", "_orig_mod.")
# Where a training checkpoint keeps its weights: Lightning, arcface_torch, OpenSphere and other training code.
CONTAINERS = ("state_dict", "state_dict_backbone", "backbone", "model")

IRESNET_DEPTHS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "iresnet18",
    (3, 4, 6, 3): "iresnet34",
    (3, 4, 14, 3): "iresnet50",
    (3, 13, 30, 3): "iresnet100",
    (6, 26, 60, 6): "iresnet200",
}
SFNET20_DEPTH = (2, 3, 5, 2)  # the strided convolution of each stage counts as a block
CVLFACE_DEPTHS = {8: "ir_18", 16: "ir_34", 24: "ir_50", 49: "ir_101"}
MOBILEFACENET_SIZES = {333: "mbf", 606: "mbf_large"}


def load_weights(
    network: nn.Module, path: Path | str, *, key: str | None = None, prefix: str | Sequence[str] | None = None
) -> None:
    """Fill a network from a file, all of it or not at all.

    Args:
        network: The network to fill, in place.
        path: A ``.safetensors`` file, or a file of ``torch.save`` with a state dict or a training checkpoint.
        key: See `read_weights`.
        prefix: What the names begin with in the file and not in the network, one or several; names that begin with
            none of them, such as the head's, are left out. None drops the prefixes of the usual wrappers, unless the
            network has such names itself.

    Raises:
        UserError: If the file cannot be read, or its weights are not exactly this network's.
    """
    weights = read_weights(path, key)
    expected = network.state_dict()
    if prefix is None:
        weights = _unwrap(weights, expected)
    else:
        weights = _strip(weights, [prefix] if isinstance(prefix, str) else prefix, path)
    problem = _mismatch(weights, expected)
    if problem:
        raise UserError(
            f"{path} does not fit the network.\n"
            f"  the file holds: {describe_architecture(weights)}\n"
            f"  the network is: {describe_architecture(expected)}\n"
            f"  {problem}\n"
            "Choose the network that the file was made with, or another file."
        )
    network.load_state_dict(weights)


def read_weights(path: Path | str, key: str | None = None) -> Weights:
    """Read a state dict from a file, without running any code in it.

    Args:
        path: A ``.safetensors`` file, or a file of ``torch.save``.
        key: Where in the file the state dict is, dotted, such as ``"ema.state_dict"``. None looks for it where
            Lightning, arcface_torch and others keep it, and at the top.

    Returns:
        Name → tensor, on the CPU.

    Raises:
        UserError: If the file is missing, damaged, holds objects of other classes, or no state dict.
    """
    content = read_checkpoint(path)
    weights = _contained(content) if key is None else _look_up(content, key, path)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(
            f"{path} holds no state dict {'at the top or as state_dict' if key is None else f'as {key}'}: expected a "
            f"mapping from names to tensors, found {_describe_content(weights)}"
        )
    return dict(weights)


def read_checkpoint(path: Path | str) -> Any:
    """Read whatever tensors and plain values a file holds, without running any code in it.

    Args:
        path: A ``.safetensors`` file, or a file of ``torch.save``; or the folder of a ``backbone.pth``.

    Returns:
        Its content, tensors on the CPU.

    Raises:
        UserError: If the file is missing, damaged, or holds objects of other classes.
    """
    path = Path(path)
    if path.is_dir():
        path /= "backbone.pth"
    if not path.is_file():
        raise UserError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make either reader fail in many ways, IndexError among them
        raise UserError(
            f"{path} is damaged, or is not a weights file that can be read safely: "
            "expected .safetensors, or a file of torch.save with nothing but tensors and plain values"
        ) from error


def describe_architecture(weights: Mapping[str, Tensor]) -> str:
    """Name the architecture that a state dict belongs to, from its names.

    Args:
        weights: A state dict without prefixes.

    Returns:
        Such as ``"iresnet50 (arcface_torch names, 475 entries)"``; for an unknown one its first names.
    """
    count = len(weights)
    if "layer1.0.conv1.weight" in weights and "features.running_mean" in weights:
        depth = _blocks_of_stages(weights)
        name = IRESNET_DEPTHS.get(depth, f"an IResNet of {depth} blocks")
        extra = " with squeeze-excitation" if "layer1.0.se_block.fc1.weight" in weights else ""
        return f"{name}{extra} (arcface_torch names, {count} entries)"
    if "layer1.0.conv1.bias" in weights and "fc.weight" in weights:
        depth = _blocks_of_stages(weights)
        name = "sfnet20" if depth == SFNET20_DEPTH else f"a SphereFace network of {depth} blocks"
        return f"{name} (OpenSphere names, {count} entries)"
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
    if "proj.0.weight" in weights:
        linear = sum(name.endswith(".weight") for name in weights)
        return f"a privacy layer of {linear} linear layers ({count} entries)"
    if set(weights) == {"kernel"}:
        return f"the class centres of a classifier (kernel {list(weights['kernel'].shape)})"
    return f"an unknown architecture ({count} entries: {', '.join(list(weights)[:4])}, ...)"


def fingerprint(network: nn.Module) -> str:
    """SHA-256 of a network: its structure, as its ``repr`` gives it, and its weights and buffers."""
    return hashlib.sha256(repr(network).encode() + weights_fingerprint(network).encode()).hexdigest()


def weights_fingerprint(network: nn.Module) -> str:
    """SHA-256 of a network's class and what it tells of itself, and of the names, types, shapes and values it holds.

    Unlike `fingerprint` it does not depend on how torch writes down the modules in it, so that it can be stored.
    """
    digest = hashlib.sha256(f"{type(network).__name__} {network.extra_repr()}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _blocks_of_stages(weights: Mapping[str, Tensor]) -> tuple[int, ...]:
    return tuple(_blocks(weights, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))


def _blocks(weights: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in weights if (match := re.match(pattern, name))})


def _contained(content: Any) -> Any:
    """What the first of the usual containers holds, or ``content`` itself, which may be a state dict."""
    if isinstance(content, Mapping):
        for name in CONTAINERS:
            if isinstance(content.get(name), Mapping):
                return content[name]
    return content


def _look_up(content: Any, key: str, path: Path | str) -> Any:
    for name in key.split("."):
        if not isinstance(content, Mapping) or name not in content:
            raise UserError(f"{path}: no {key} in it; {name} was looked for in {_describe_content(content)}")
        content = content[name]
    return content


def _describe_content(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with the keys {', '.join(map(str, list(content)[:8])) or '(none)'}"
    return f"a value of type {type(content).__name__}"


def _strip(weights: Weights, prefixes: Sequence[str], path: Path | str) -> Weights:
    """Keep what begins with one of ``prefixes``, under the name after it."""
    kept = {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if (prefix := next((prefix for prefix in prefixes if name.startswith(prefix)), None)) is not None
    }
    if not kept:
        raise UserError(
            f"{path}: no weight's name begins with {' or '.join(map(repr, prefixes))}; "
            f"they are {', '.join(list(weights)[:4])}, ..."
        )
    return kept


def _unwrap(weights: Weights, expected: Mapping[str, Tensor]) -> Weights:
    """Drop wrappers' prefixes until none is left or all names are there; names without the prefix are not kept."""
    if not _missing(weights, expected):
        return weights
    for prefix in PREFIXES:
        wrapped = [name for name in weights if name.startswith(prefix)]
        if wrapped:
            return _unwrap({name.removeprefix(prefix): weights[name] for name in wrapped}, expected)
    return weights


def _missing(weights: Weights, expected: Mapping[str, Tensor]) -> list[str]:
    return [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]


def _mismatch(weights: Weights, expected: Mapping[str, Tensor]) -> str:
    """Say what keeps ``weights`` from being loaded; the empty string if nothing does."""
    missing = _missing(weights, expected)
    extra = [name for name in weights if name not in expected]
    if missing or extra:
        return (
            f"{len(missing)} weights are missing from the file ({', '.join(missing[:3]) or 'none'}) "
            f"and {len(extra)} are unknown to the network ({', '.join(extra[:3]) or 'none'})"
        )
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            return (
                f"{name} has shape {tuple(value.shape)} in the file and {tuple(expected[name].shape)} "
                "in the network: compare embedding_size and size"
            )
    return ""
