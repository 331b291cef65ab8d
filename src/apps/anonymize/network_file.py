"""The password transformer in a checkpoint of a training, or in a folder of converted networks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.calibration import calibration, load_calibration
from src.models.networks.weights import load_weights, read_checkpoint, weights_fingerprint

__all__ = ["DESCRIPTION", "STATISTICS", "WEIGHTS", "TrainedTransformer", "load_transformer", "save_transformer"]

WEIGHTS, DESCRIPTION, STATISTICS = "model.safetensors", "model.json", "bn_stats"

_PREFIX = "transformer."


@dataclass(frozen=True)
class TrainedTransformer:
    """A network to anonymise and recover with.

    Attributes:
        network: In evaluation mode, on the CPU.
        arguments: It was built with.
        size: Height and width of the faces that it was trained on, in pixels.
    """

    network: PasswordTransformer
    arguments: dict[str, Any]
    size: int

    @property
    def is_calibrated(self) -> bool:
        """Whether no face depends on others in its batch, so that a single one feels its password."""
        has_batch_norms = any(isinstance(module, nn.BatchNorm2d) for module in self.network.modules())
        return not has_batch_norms or bool(calibration(self.network))

    def fingerprint(self) -> str:
        """Hex digest of all that the result depends on; what another network anonymised cannot be recovered."""
        facts = json.dumps({**self.arguments, "size": self.size}, sort_keys=True)
        digest = hashlib.sha256(f"{weights_fingerprint(self.network)} {facts}".encode())
        for name, values in calibration(self.network).items():
            digest.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_transformer(path: Path) -> TrainedTransformer:
    """Read a transformer without running any code in a file.

    Args:
        path: A checkpoint of ``train.py experiment=password_transformer``, or a folder of `save_transformer`.

    Raises:
        UserError: A file is missing or damaged, or holds no password transformer.
    """
    is_folder = path.is_dir()
    content = _read_description(path / DESCRIPTION) if is_folder else read_checkpoint(path)
    try:
        if is_folder:
            arguments, size = dict(content["networks"]["transformer"]["arguments"]), int(content["size"])
        else:
            config = content["hyper_parameters"]
            arguments, size = dict(config["model"]["transformer"]), int(config["datamodule"]["size"])
        arguments = {name: value for name, value in arguments.items() if not name.startswith("_")}
        network = PasswordTransformer(**arguments)
    except UserError as error:
        raise UserError(f"ckpt_path={path}: its transformer cannot be built: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found = ", ".join(map(str, list(content)[:4])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(
            f"ckpt_path={path}: expected a checkpoint of python train.py experiment=password_transformer, such as "
            "runs/password_transformer/checkpoints/last.ckpt, or a folder that privface convert wrote from a published "
            f".pth.tar file; found {found} ({error})"
        ) from error
    weights = path / WEIGHTS if is_folder else path
    load_weights(network, weights, prefix=_PREFIX)
    load_calibration(network, _statistics(read_checkpoint(weights)))
    return TrainedTransformer(network.eval(), arguments, size)


def save_transformer(
    folder: Path, trained: TrainedTransformer, others: Mapping[str, Mapping[str, Tensor]], **facts: Any
) -> None:
    """Write ``model.safetensors``, ``model.json``: the transformer with its statistics, and what it was trained with.

    Args:
        folder: Where to.
        trained: The transformer.
        others: State dicts of other networks by their names.
        facts: What else is known, plain values.
    """
    states = {
        "transformer": trained.network.state_dict(),
        STATISTICS: calibration(trained.network),
        **others,
    }
    tensors = {
        f"{name}.{key}": value.detach().clone() for name, state in states.items() for key, value in state.items()
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / WEIGHTS)
    networks = {"transformer": {"arguments": trained.arguments}, **{name: {} for name in others}}
    content = json.dumps({**facts, "size": trained.size, "networks": networks}, indent=2)
    (folder / DESCRIPTION).write_text(f"{content}\n", encoding="utf-8")


def _read_description(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no {path}: expected a folder that privface convert wrote from a .pth.tar file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error!r}; convert the .pth.tar file again") from error


def _statistics(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of the batch norms, in a checkpoint or among the tensors of a folder; empty if there are none."""
    within = content.get(STATISTICS)
    if isinstance(within, Mapping):
        return dict(within)
    prefix = f"{STATISTICS}."
    return {
        name.removeprefix(prefix): value
        for name, value in content.items()
        if name.startswith(prefix) and isinstance(value, torch.Tensor)
    }
