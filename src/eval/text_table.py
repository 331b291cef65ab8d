"""Tables of text, and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["TextTable", "print_table"]


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        caption: What it shows, and in which unit.
        columns: Titles of the columns but the first, which names the rows; a line break separates benchmark and metric.
        rows: Name and texts of each row.
        prose: Whether the texts are sentences, which are aligned to the left and wrapped.
    """

    caption: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    prose: bool = False


def print_table(table: TextTable) -> None:
    """Print a table in as many parts, one below the other, as its columns need."""
    console = Console()
    name_width = 4 + min(max(len(name) for name, _ in table.rows), console.width // 3)
    parts: list[list[int]] = [[]]
    free = console.width - name_width
    for i, column in enumerate(table.columns):
        width = 3 + max(map(len, (*column.split("\n"), *(texts[i] for _, texts in table.rows))))
        if width > free and parts[-1]:
            parts.append([])
            free = console.width - name_width
        parts[-1].append(i)
        free -= width
    console.print(escape(table.caption), style="italic")
    for columns in parts:
        drawn = Table(show_lines=table.prose)
        drawn.add_column("", max_width=name_width - 4, overflow="fold")
        for i in columns:
            drawn.add_column(escape(table.columns[i]), justify="left" if table.prose else "right", overflow="fold")
        for name, texts in table.rows:
            drawn.add_row(escape(name), *(texts[i] for i in columns))
        console.print(drawn)
