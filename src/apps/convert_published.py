"""``privface convert`` of a published ``.pkl`` file: its networks as weights and plain text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from src.errors import UserError
from src.models.networks.stylegan2.network_files import save_networks
from src.models.networks.stylegan2.published import PublishedNetwork, read_published

__all__ = ["LICENCE_NOTE", "read_selected", "write"]

LICENCE_NOTE = (
    "Licence: these weights stay under the licence of the file they come from. What is published with StyleGAN2-ADA "
    "and ArcBiFaceGAN is under the NVIDIA Source Code License: for research or evaluation only, not for commercial "
    "use, and to be passed on only under that licence and with a copy of it. The same holds for networks that start "
    "from them."
)

_NAMES = {"G_ema": "average", "G": "generator", "D": "discriminator", "D_NIR": "nir_discriminator"}
"""By which our training calls the networks of the file."""


def read_selected(path: Path, names: Sequence[str] | str | None) -> dict[str, PublishedNetwork]:
    """Networks of a file by their names there.

    Args:
        path: The ``.pkl`` file.
        names: Which of them; none for all.

    Raises:
        UserError: The file cannot be read, or has not all of ``names``.
    """
    with Console(stderr=True).status(f"reading {path.name}"):
        found = read_published(path)
    selected = [names] if isinstance(names, str) else names or tuple(found)
    absent = [name for name in selected if name not in found]
    if absent:
        raise UserError(f"networks: expected some of {', '.join(found)}, which {path} has, found {', '.join(absent)}")
    return {name: network for name, network in found.items() if name in selected}


def write(folder: Path, path: Path, networks: Mapping[str, PublishedNetwork]) -> str:
    """Write ``model.safetensors``, ``model.json`` and ``README.md``.

    Args:
        folder: Where to.
        path: The file that the networks come from.
        networks: See `read_selected`.

    Returns:
        What there is to say of them, for people; the last paragraph is `LICENCE_NOTE`.
    """
    descriptions = {_NAMES[name]: _describe(name, network) for name, network in networks.items()}
    with open(path, "rb") as file:
        source = {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    weights = {_NAMES[name]: network.weights for name, network in networks.items()}
    save_networks(folder, weights, descriptions, source=source, licence=LICENCE_NOTE)
    lines = [f"* {_NAMES[name]}: {_in_words(name, network)}" for name, network in networks.items()]
    report = "\n".join([*lines, "", LICENCE_NOTE])
    (folder / "README.md").write_text(_card(path, source["sha256"], report), encoding="utf-8")
    return report


def _describe(name: str, network: PublishedNetwork) -> dict[str, Any]:
    return {
        "class": network.kind.__name__,
        "arguments": network.arguments,
        "name_in_file": name,
        "parameters": network.count_parameters(),
        "initialised": list(network.initialised),
    }


def _in_words(name: str, network: PublishedNetwork) -> str:
    size, condition = network.arguments["resolution"], network.arguments["c_dim"]
    words = f"{name}, {size} px, {f'conditions of {condition}' if condition else 'no condition'}"
    words += f", {network.count_parameters():,} parameters"
    if network.initialised:
        words += (
            f"; {len(network.initialised)} tensors of the near-infrared heads (toseg) are not in the file and newly "
            "drawn: its near-infrared images mean nothing before a training"
        )
    return words


def _card(path: Path, sha256: str, report: str) -> str:
    return f"""# Networks of {path.name}

Converted from a file of the StyleGAN2-ADA or ArcBiFaceGAN code, SHA-256 {sha256}. The names of the weights
in `model.safetensors` begin with that of their network; `model.json` says how to build each.

{report}

```python
from src.models.networks.stylegan2.network_files import load_network
vis, nir = load_network(".", "average")(z, c)  # [N, 3, R, R] and [N, 1, R, R], nominally in [-1, 1]
```
"""
