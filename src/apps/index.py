"""``privface index``: write the index of shards that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.datamodules.shard_index import ShardIndex
from src.errors import UserError

__all__ = ["run"]


def run(root: Path | str, *, overwrite: bool) -> None:
    """Read all tars of a folder, write ``index.json`` and ``index.npz`` beside them, and print a table.

    Args:
        root: The folder.
        overwrite: Replace an index that is there.

    Raises:
        UserError: There is an index, or see :meth:`~src.datamodules.shard_index.ShardIndex.scan`.
    """
    root = Path(root)
    if not overwrite and (root / "index.json").exists():
        raise UserError(f"{root / 'index.json'}: exists already; overwrite=true replaces it")
    index = ShardIndex.scan(root)
    index.save()
    table = Table("shard", "samples", "bytes", title=str(root))
    for column in table.columns[1:]:
        column.justify = "right"
    for shard in index.shards:
        table.add_row(shard.file, f"{shard.samples:,}", decimal(shard.bytes))
    console = Console()
    console.print(table)
    console.print(f"{len(index):,} samples of {len(index.classes):,} classes in {len(index.shards):,} shards")
