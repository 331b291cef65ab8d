"""``privface convert``: a checkpoint as weights, ONNX file and model card, to be used without this platform.

Published files go the other way, to be used with it: a ``.pkl`` of StyleGAN2-ADA or ArcBiFaceGAN, a ``.pth.tar`` of the
password transformer, and ``sphere20a_20171020.pth``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from safetensors.torch import save_file
from torch import nn

from src.apps import convert_password, convert_published
from src.apps.checkpoint import TrainedCheckpoint
from src.apps.model_card import describe_model, render_card
from src.errors import UserError
from src.files import explain_full_disk
from src.models.export import export_onnx, largest_difference, unequal_symbols

__all__ = ["run"]


def run(
    ckpt: Path | str,
    out: Path | str,
    *,
    tolerance: float,
    networks: Sequence[str] | str | None = None,
    magnitude: float | None = None,
    calibrate: Path | str | None = None,
) -> None:
    """Write ``model.safetensors``, ``model.yaml``, ``model.onnx`` and ``README.md`` of a checkpoint, and print a table.

    Of a published file or a password transformer it writes ``model.safetensors``, ``model.json`` and ``README.md``.

    Args:
        ckpt: Checkpoint of ``train.py``, or a published file.
        out: Folder to write; appears as a whole or not at all.
        tolerance: What the largest difference of embeddings of unit length between the ONNX file and the network, or
            the share of unequal symbols of their codes, has to be below.
        networks: Which networks of a ``.pkl`` file, by their names in it; None for all.
        magnitude: Of the passwords of a ``.pth.tar`` file; None reads it from the settings beside it.
        calibrate: Folder of faces to measure the statistics of a password transformer's batch norms on.

    Raises:
        UserError: The checkpoint cannot be read, the folder is not empty, or the ONNX file differs by more.
    """
    out, path = Path(out), Path(ckpt)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"out={out}: exists and is not an empty folder; give another name, or delete it")
    is_pickle = path.suffix == ".pkl"
    if networks is not None and not is_pickle:
        raise UserError(f"networks is for .pkl files; {path} is none")
    if not is_pickle and convert_password.is_password_transformer(path):
        with explain_full_disk(out, "nothing was written"), _new_folder(out) as folder:
            faces = None if calibrate is None else Path(calibrate)
            found = convert_password.write(folder, path, magnitude, faces)
        _print_table(out, found)
        return
    if magnitude is not None or calibrate is not None:
        raise UserError(f"magnitude and calibrate are for password transformers; {path} is none")
    if is_pickle:
        published = convert_published.read_selected(path, networks)
        with explain_full_disk(out, "nothing was written"), _new_folder(out) as folder:
            found = convert_published.write(folder, path, published)
        _print_table(out, found)
        return
    checkpoint = TrainedCheckpoint.read(path)
    network = checkpoint.build_backbone()
    with explain_full_disk(out, "nothing was written"), _new_folder(out) as folder:
        found = _write(folder, checkpoint, network, tolerance)
    _print_table(out, f"{found} (tolerance {tolerance:.0e})")


def _write(folder: Path, checkpoint: TrainedCheckpoint, network: nn.Module, tolerance: float) -> str:
    """Write all files; returns what the comparison of the ONNX file with the network found, for people."""
    size = checkpoint.size
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    with Console(stderr=True).status("exporting"):
        export_onnx(network, size, folder / "model.onnx")
        difference, found = _compare(network, size, folder / "model.onnx")
    if not difference < tolerance:
        raise UserError(
            f"the ONNX file of {checkpoint.path} does not compute what the network does: {found}, allowed are "
            f"{tolerance:.1e} (tolerance). Nothing was written."
        )
    with open(folder / "model.safetensors", "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    facts = describe_model(
        checkpoint,
        embedding_size=int(network.embedding_size),  # type: ignore[arg-type]
        alphabet=getattr(network, "alphabet", None),
        parameters=sum(value.numel() for value in weights.values() if value.is_floating_point()),
        sha256=sha256,
        difference=difference,
    )
    (folder / "model.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(facts)), encoding="utf-8")
    (folder / "README.md").write_text(render_card(facts), encoding="utf-8")
    return found


def _compare(network: nn.Module, size: int, path: Path) -> tuple[float, str]:
    """How far an ONNX file is from the network, as a number and in words."""
    if getattr(network, "alphabet", None) is None:
        difference = largest_difference(network, size, path)
        return difference, f"embeddings of model.onnx differ by at most {difference:.1e}"
    difference = unequal_symbols(network, size, path)
    return difference, f"symbols of model.onnx differ in a share of {difference:.1e}"


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


def _print_table(out: Path, found: str) -> None:
    table = Table("file", "size", title=str(out))
    table.columns[1].justify = "right"
    for path in sorted(out.iterdir()):
        table.add_row(path.name, decimal(path.stat().st_size))
    console = Console()
    console.print(table)
    console.print(found, markup=False, highlight=False, soft_wrap=True)
