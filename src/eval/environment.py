"""Under which circumstances a result was obtained: versions, commit, config, device. Nothing names the host."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from src.ops.library import backends

__all__ = ["collect_environment", "config_hash"]

_PACKAGES = ("privface", "torch", "torchvision", "lightning", "numpy", "scikit-learn")


def collect_environment(config: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
    """Describe this process for ``results.json``.

    Args:
        config: Config of the run, interpolations unresolved, as plain containers.
        device: On which the result was computed.

    Returns:
        JSON-ready: ``python``, ``platform``, one version per package, ``cuda``, ``device``, ``cpu_operators`` and
        ``cuda_operators`` (see `src.ops.library.backends`), ``commit`` (None outside a checkout), ``dirty`` (whether
        the checkout differs from the commit) and ``config_hash``.
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{package: _version(package) for package in _PACKAGES},
        "cuda": torch.version.cuda,
        "device": _device_name(torch.device(device)),
        **{f"{kind}_operators": backend for kind, backend in backends().items()},
        **_checkout(),
        "config_hash": config_hash(config),
    }


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a config without its ``paths``: equal on every machine and in every run folder.

    Args:
        config: Interpolations unresolved, as plain containers.
    """
    relevant = {key: value for key, value in config.items() if key != "paths"}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _checkout() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    # An installed copy may lie in a virtual environment inside someone else's checkout.
    if _git(root, "rev-parse", "--show-prefix") != "":
        return {"commit": None, "dirty": None}
    return {"commit": _git(root, "rev-parse", "HEAD"), "dirty": bool(_git(root, "status", "--porcelain"))}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
