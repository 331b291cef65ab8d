"""What both commands print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from src.apps.gallery.output import count

__all__ = ["frame_progress", "list_problems", "warn"]

_LISTED = 20


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self._unit}/s" if speed else "")


def frame_progress(unit: str) -> Progress:
    """A bar on the standard error stream that counts images or frames, with how many a second and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(unit), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


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
