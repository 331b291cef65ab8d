"""The generator in a checkpoint of a training, or in a folder of converted networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from src.errors import UserError
from src.models.networks.stylegan2 import Generator
from src.models.networks.stylegan2.network_files import load_network
from src.models.networks.weights import load_weights, read_checkpoint

__all__ = ["load_generator"]

_AVERAGE = "average."


def load_generator(path: Path) -> Generator:
    """The averaged generator, without running any code in a file.

    Args:
        path: A checkpoint of ``train.py experiment=arcbifacegan``, or a folder that ``privface convert`` wrote from a
            published ``.pkl`` file.

    Raises:
        UserError: A file is missing or damaged, or holds no such generator.
    """
    if path.is_dir():
        network = load_network(path)
        if not isinstance(network, Generator):
            raise UserError(f"ckpt_path={path}: expected a generator, found a {type(network).__name__}")
        return network
    content = read_checkpoint(path)
    try:
        config = content["hyper_parameters"]["model"]["generator"]
        arguments = {name: value for name, value in config.items() if not name.startswith("_")}
        generator = Generator(**arguments)
    except UserError as error:
        raise UserError(f"ckpt_path={path}: its generator cannot be built: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found = ", ".join(map(str, list(content)[:4])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(
            f"ckpt_path={path}: expected a checkpoint of a training that makes images, such as "
            f"runs/arcbifacegan/checkpoints/last.ckpt; found {found} ({error})"
        ) from error
    load_weights(generator, path, prefix=_AVERAGE)
    return generator.eval()
