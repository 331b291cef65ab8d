"""``privface faces``: draw a procedural data set, check it, and say what was written."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.datamodules.procfaces.dataset import build, verify
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.parts import plan

__all__ = ["run"]


def run(config: FacesConfig, out: Path | str, *, processes: int | None = None) -> Path:
    """Build a procedural data set unless it is there, draw a sample of it again, and print a table of its parts.

    Args:
        config: What it holds.
        out: Its folder.
        processes: Processes that draw; by default one per usable core.

    Returns:
        The folder.

    Raises:
        UserError: See :func:`~src.datamodules.procfaces.dataset.build` and ``verify``.
    """
    root = build(out, config, processes=processes)
    difference = verify(root, config)
    table = Table("part", "images", "side", "on disk", title=str(root))
    for column in table.columns[1:]:
        column.justify = "right"
    for part in plan(config):
        size = decimal(_bytes_on_disk(root / part.name))
        table.add_row(part.name, f"{len(part.shots):,}", f"{part.scene.size} px", size)
    console = Console()
    console.print(table)
    console.print(f"Drawn again, images differ by at most {difference:.2f} of 255 grey levels on average.")
    console.print(f"See {root / 'contact_sheet.png'} and {root / 'DATA_CARD.md'}.")
    return root


def _bytes_on_disk(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
