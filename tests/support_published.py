"""Files as the code of StyleGAN2-ADA and ArcBiFaceGAN writes them, made without that code."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

__all__ = ["TINY_DISCRIMINATOR", "TINY_GENERATOR", "EasyDict", "Module", "foreign_modules", "write_published"]


class EasyDict(dict):
    """Pickles as ``dnnlib.util.EasyDict``."""


def _reconstruct_persistent_obj(meta: Mapping[str, Any]) -> None:
    raise AssertionError("called while unpickling")


class Network:
    """Pickles as a network of the TensorFlow code."""

    def __init__(self) -> None:
        self.variables: list[Any] = []


class Module:
    """Pickles as a module of that code.

    Args:
        network: Its weights.
        class_name: Of the module.
        arguments: Of its constructor.
        source: Its source code, which must not run.
    """

    def __init__(self, network: nn.Module, class_name: str, arguments: Mapping[str, Any], source: str = "") -> None:
        children = {name: Module(child, "Layer", {}, source) for name, child in network.named_children()}
        self.state: dict[str, Any] = {
            "training": False,
            "_parameters": OrderedDict((name, value) for name, value in network._parameters.items()),
            "_buffers": OrderedDict((name, value) for name, value in network._buffers.items()),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_modules": OrderedDict(children),
            "_init_args": (),
            "_init_kwargs": EasyDict(arguments),
        }
        self.class_name, self.source = class_name, source

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": self.class_name}
        return _reconstruct_persistent_obj, ({**meta, "state": self.state},)


_FOREIGN = {
    "dnnlib.util": (EasyDict,),
    "torch_utils.persistence": (_reconstruct_persistent_obj,),
    "dnnlib.tflib.network": (Network,),
}


@contextmanager
def foreign_modules() -> Iterator[None]:
    """In this context, and only there, what the pickles refer to can be imported."""
    names: dict[str, ModuleType] = {}
    for path, members in _FOREIGN.items():
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            names.setdefault(name, ModuleType(name))
        for member in members:
            setattr(names[path], member.__name__, member)
            member.__module__ = path
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def write_published(path: Path, content: Any, protocol: int = 4) -> Path:
    """Write a file of that code."""
    with foreign_modules():
        path.write_bytes(pickle.dumps(content, protocol))
    return path


TINY_GENERATOR: dict[str, Any] = {
    "z_dim": 32,
    "w_dim": 32,
    "c_dim": 16,
    "img_resolution": 32,
    "img_channels": 3,
    "mapping_kwargs": EasyDict(num_layers=2),
    "synthesis_kwargs": EasyDict(channel_base=512, channel_max=32, num_fp16_res=0, conv_clamp=None),
}
"""Arguments of the generator that the golden values were computed with."""

TINY_DISCRIMINATOR: dict[str, Any] = {
    "c_dim": 16,
    "img_resolution": 32,
    "img_channels": 3,
    "channel_base": 512,
    "channel_max": 32,
    "num_fp16_res": 0,
    "conv_clamp": None,
    "block_kwargs": EasyDict(freeze_layers=0),
    "mapping_kwargs": EasyDict(),
    "epilogue_kwargs": EasyDict(mbstd_group_size=4),
}
"""Arguments of its discriminator of visible images."""
