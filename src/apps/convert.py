"""``privface convert``: a checkpoint as weights, ONNX file and model card, to be used without this platform."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from safetensors.torch import save_file
from torch import nn

from src.apps.checkpoint import TrainedCheckpoint
from src.apps.model_card import describe_model, render_card
from src.errors import UserError
from src.files import explain_full_disk
from src.models.export import export_onnx, largest_difference

__all__ = ["run"]


def run(ckpt: Path | str, out: Path | str, *, tolerance: float) -> None:
    """Write ``model.safetensors``, ``model.yaml``, ``model.onnx`` and ``README.md`` of a checkpoint, and print a table.

    Args:
        ckpt: Checkpoint of ``train.py``.
        out: Folder to write; appears as a whole or not at all.
        tolerance: Largest difference of embeddings of unit length between the ONNX file and the network.

    Raises:
        UserError: The checkpoint cannot be read, the folder is not empty, or the ONNX file differs by more.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"out={out}: exists and is not an empty folder; give another name, or delete it")
    checkpoint = TrainedCheckpoint.read(ckpt)
    network = checkpoint.build_backbone()
    with explain_full_disk(out, "nothing was written"), _new_folder(out) as folder:
        difference = _write(folder, checkpoint, network, tolerance)
    _print_table(out, difference, tolerance)


def _write(folder: Path, checkpoint: TrainedCheckpoint, network: nn.Module, tolerance: float) -> float:
    size = checkpoint.size
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    with Console(stderr=True).status("exporting"):
        export_onnx(network, size, folder / "model.onnx")
        difference = largest_difference(network, size, folder / "model.onnx")
    if not difference < tolerance:
        raise UserError(
            f"the ONNX file of {checkpoint.path} does not compute what the network does: embeddings differ by "
            f"{difference:.1e}, allowed are {tolerance:.1e} (tolerance). Nothing was written."
        )
    with open(folder / "model.safetensors", "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    facts = describe_model(
        checkpoint,
        embedding_size=int(network.embedding_size),  # type: ignore[arg-type]
        parameters=sum(value.numel() for value in weights.values() if value.is_floating_point()),
        sha256=sha256,
        difference=difference,
    )
    (folder / "model.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(facts)), encoding="utf-8")
    (folder / "README.md").write_text(render_card(facts), encoding="utf-8")
    return difference


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A temporary neighbour of ``path`` that becomes it on success and is removed otherwise."""
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _print_table(out: Path, difference: float, tolerance: float) -> None:
    table = Table("file", "size", title=str(out))
    table.columns[1].justify = "right"
    for path in sorted(out.iterdir()):
        table.add_row(path.name, decimal(path.stat().st_size))
    console = Console()
    console.print(table)
    console.print(f"embeddings of model.onnx differ by at most {difference:.1e} (tolerance {tolerance:.0e})")
