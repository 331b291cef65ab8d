"""Progress bars of work on images."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["image_progress"]

_SLOW = 10
"""Units a second below which a digit more is shown."""


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(f"{speed:,.{1 if speed < _SLOW else 0}f} {self._unit}/s")


def image_progress(unit: str = "images") -> Progress:
    """A bar on the standard error stream that counts images, with how many a second and the time left.

    Args:
        unit: What is counted.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(unit), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
