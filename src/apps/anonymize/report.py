"""What both commands print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from src.apps.gallery.output import count

__all__ = ["list_problems", "warn"]

_LISTED = 20


def warn(text: str) -> None:
    """Print a warning on the standard error stream."""
    Console(stderr=True).print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)


def list_problems(problems: Sequence[str], consequence: str) -> None:
    """Print which files were not written and why, and leave with exit status 1 if there are any."""
    if not problems:
        return
    warn(f"{count(len(problems), 'file')} {consequence}:")
    for problem in problems[:_LISTED]:
        warn(f"  {problem}")
    if len(problems) > _LISTED:
        warn(f"  and {len(problems) - _LISTED:,} more")
    raise SystemExit(1)
