"""Files of the StyleGAN2-ADA code and its descendants: pickles of networks with their source code, which never runs.

Such a file is a mapping from names (``G_ema``, ``G``, ``D``, ``D_NIR``) to modules; a module is pickled as its class
name, source code, constructor arguments and state. Everything but the source code is read.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from src.errors import UserError
from src.restricted_pickle import ARRAYS, AllowListUnpickler, load

__all__ = ["PickledNetwork", "read_published_pickle"]

_TENSORFLOW = (
    "holds networks of TensorFlow, from before StyleGAN2-ADA for PyTorch: expected a mapping with G_ema. legacy.py of "
    "the StyleGAN2-ADA code converts it; do that only with a file that you trust, or where nothing can be harmed"
)


@dataclass(frozen=True)
class PickledNetwork:
    """A network as such a file holds it.

    Attributes:
        class_name: Such as ``"Generator"``.
        arguments: What its constructor was called with.
        weights: Its parameters and buffers under dotted names, on the CPU.
    """

    class_name: str
    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]


def read_published_pickle(path: Path | str, names: Sequence[str]) -> dict[str, PickledNetwork]:
    """Read networks of a ``.pkl`` file without running any code in it.

    Args:
        path: The file.
        names: Names in the file of the networks that are wanted.

    Returns:
        Those of ``names`` that it has, in that order.

    Raises:
        UserError: The file is missing, damaged, of the TensorFlow era, holds none of these networks, or asks for
            anything that such a file does not need.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file at {path}")
    with open(path, "rb") as file:
        content = load(_Unpickler(file, str(path)), str(path), "networks of the StyleGAN2-ADA code")
    if isinstance(content, tuple):
        raise UserError(f"{path} {_TENSORFLOW}")
    modules = content if isinstance(content, Mapping) else {}
    found = {name: module for name in names if isinstance(module := modules.get(name), _Module)}
    if not found:
        raise UserError(
            f"{path}: expected a file of the StyleGAN2-ADA or ArcBiFaceGAN code with networks named "
            f"{', '.join(names)}, found {', '.join(map(str, list(modules)[:8])) or f'a {type(content).__name__}'}"
        )
    return {name: _network(module, path) for name, module in found.items()}


@dataclass(frozen=True)
class _Module:
    class_name: str
    state: Mapping[str, Any]


def _module(meta: Mapping[str, Any]) -> _Module:
    """Stand in for the function that would compile and run the source code."""
    return _Module(str(meta["class_name"]), meta["state"])


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    # A view with strides of 0 could be larger than memory.
    if math.prod(size) > storage.numel():
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} has {storage.numel()} values")
    return storage.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _storage(content: bytes) -> Tensor:
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a {type(storage).__name__} where values of a tensor are expected")
    return torch.empty(0, dtype=storage.dtype).set_(storage)


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **ARRAYS,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
    ("dnnlib.util", "EasyDict"): OrderedDict,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
}


class _Unpickler(AllowListUnpickler):
    def __init__(self, file: IO[bytes], where: str) -> None:
        super().__init__(file, _ALLOWED)
        self._where = where

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if module.startswith("dnnlib.tflib"):
            raise UserError(f"{self._where} {_TENSORFLOW}")
        return super().find_class(module, name)


def _network(module: _Module, path: Path) -> PickledNetwork:
    try:
        if module.state["_init_args"]:
            raise ValueError("its constructor was called with arguments without names")
        arguments = dict(module.state["_init_kwargs"])
        return PickledNetwork(module.class_name, arguments, dict(_weights(module, "", set())))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: a {module.class_name} in it is not laid out as by the StyleGAN2-ADA code: {error!r}; get the "
            "file from its origin again"
        ) from error


def _weights(module: _Module, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Walk the tree of modules; in a forged file it may be none, and endless."""
    if id(module) in seen:
        raise ValueError(f"{prefix[:-1]} is in it twice")
    seen.add(id(module))
    for group in ("_parameters", "_buffers"):
        for name, value in module.state[group].items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    for name, child in module.state["_modules"].items():
        if isinstance(child, _Module):
            yield from _weights(child, f"{prefix}{name}.", seen)
