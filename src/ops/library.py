"""The operators of the namespace ``privface``: how they are defined, and which implementation of them is in force.

Every operator has a reference in plain PyTorch that works on any device. The compiled library ``_C.so``, where it was
built, registers faster kernels for tensors on the CPU, which outrank the reference.

``PRIVFACE_OPS`` chooses: unset, the compiled library if it is there; ``compiled``, nothing but that; ``reference``,
never. ``PRIVFACE_ISA`` (scalar, avx2, avx512, avx512_vpopcntdq) keeps the compiled kernels from using newer vector
instructions than it names.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from src.errors import UserError, check_choice
from src.ops.source_digest import source_digest

__all__ = ["LIBRARY", "backends", "define", "log_backends", "use_triton"]

LIBRARY = torch.library.Library("privface", "DEF")

_BINARY = Path(__file__).with_name("_C.so")
_SOURCES = Path(__file__).with_name("csrc")
_CHOICES = ("auto", "compiled", "reference")
_log = logging.getLogger(__name__)


def define(schema: str, reference: Callable[..., Any]) -> None:
    """Define an operator of the namespace.

    Args:
        schema: Its name, arguments and results, as torch writes them.
        reference: What computes it on every device for which nothing faster is registered. Checked input may be
            assumed.
    """
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(schema.split("(", 1)[0], reference, "CompositeExplicitAutograd")


def backends() -> dict[str, str]:
    """Which implementation is in force for ``cpu`` and for ``cuda`` tensors, for logs and results."""
    return {"cpu": _CPU, "cuda": "triton" if use_triton() else f"reference ({_cuda_reason()})"}


def log_backends() -> None:
    """Log what `backends` tells, for the start of a run."""
    _log.info("operators: %s", ", ".join(f"{device} {backend}" for device, backend in backends().items()))


def use_triton() -> bool:
    """Whether Triton kernels are to be registered for CUDA tensors."""
    return not _cuda_reason()


def _cuda_reason() -> str:
    if _choice() == "reference":
        return "PRIVFACE_OPS"
    if not torch.cuda.is_available():
        return "no GPU"
    return "" if importlib.util.find_spec("triton") else "no triton"


def _choice() -> str:
    choice = os.environ.get("PRIVFACE_OPS") or "auto"
    check_choice("PRIVFACE_OPS", choice, _CHOICES)
    return choice


def _load() -> str:
    """Load the compiled library if that is wanted; what is then in force on the CPU."""
    choice = _choice()
    if choice == "reference":
        return "reference (PRIVFACE_OPS)"
    reason = _load_binary()
    if not reason:
        return f"compiled ({_isa()})"
    if choice == "compiled":
        raise UserError(
            f"PRIVFACE_OPS=compiled: the compiled operators are {reason}. Build them with `make ops`, or with "
            "`pip install -e .` where there is a C++ compiler"
        )
    if _BINARY.exists():
        warnings.warn(f"{_BINARY}: {reason}; operators run as plain PyTorch. Rebuild it with `make ops`", stacklevel=2)
    else:
        _log.info("operators run as plain PyTorch: the compiled ones are %s", reason)
    return f"reference ({reason})"


def _load_binary() -> str:
    """Load it; why that could not be done, or nothing."""
    if not _BINARY.exists():
        return "not built"
    if _SOURCES.is_dir() and source_digest(_SOURCES).encode() not in _BINARY.read_bytes():
        return "built from other sources"
    try:
        torch.ops.load_library(_BINARY)
    except OSError as error:
        return f"not loadable: {error}"
    return ""


def _isa() -> str:
    try:
        return str(torch.ops.privface.isa())
    except RuntimeError as error:
        message = str(error)
        raise UserError(message[message.index("PRIVFACE_ISA") :].splitlines()[0]) from None


_CPU = _load()
