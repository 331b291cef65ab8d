"""``privface gallery stats``: what a gallery holds."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.apps.gallery.arguments import to_path
from src.apps.gallery.output import count, grid
from src.models.cancellable.gallery import CancellableGallery, GalleryStats
from src.models.cancellable.parameters import Parameters

__all__ = ["run"]

_DIGITS = 16
_IDENTIFIERS = {"csprng": "random, stored one by one", "prf": "derived from one master key and a random start of each"}
_SCOPES = {"per_position": "a secret table for each symbol", "shared": "one secret table for all symbols"}


def run(templates: Path | str, identifiers: Path | str) -> None:
    """Print a table.

    Args:
        templates: Folder of the template store.
        identifiers: Folder of the identifier store.

    Raises:
        UserError: They hold no gallery.
    """
    templates, identifiers = to_path("templates", templates), to_path("identifiers", identifiers)
    with CancellableGallery.open(templates, identifiers) as gallery:
        stats = gallery.stats()
    Console().print(_describe(stats, templates, identifiers), soft_wrap=True)


def _describe(stats: GalleryStats, templates: Path | str, identifiers: Path | str) -> Table:
    parameters = stats.parameters
    size = parameters.m * parameters.bits
    table = grid()
    table.add_row("people", f"{stats.people:,}")
    table.add_row("templates", f"{stats.templates:,}, renewed {count(stats.renewals, 'time')}")
    table.add_row("template store", f"{decimal(stats.template_bytes)} in {templates}")
    table.add_row("identifier store", f"{decimal(stats.identifier_bytes)} in {identifiers}")
    table.add_row("code", _code(parameters))
    table.add_row(
        "protection", f"{_SCOPES[parameters.lut_scope]}; {count(size, 'bit')} under an identifier of each template"
    )
    table.add_row("identifiers", _IDENTIFIERS[stats.identifier])
    table.add_row("threshold", f"{parameters.threshold:g}" if parameters.threshold else "none, every candidate counts")
    table.add_row("network", f"{parameters.network[:_DIGITS]}...")
    return table


def _code(parameters: Parameters) -> str:
    views = ", photograph and mirror image" if parameters.flip else ""
    return f"{parameters.m:,} symbols out of {parameters.q}{views}; {count(parameters.bits, 'bit')} each"
