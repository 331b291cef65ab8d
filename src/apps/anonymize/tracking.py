"""Boxes of a video that do not tremble, and that stay where a detector loses a face for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from src.apps.anonymize.boxes import Box

__all__ = ["Track", "Tracker"]

_SAME = 0.3
"""Least intersection over union of the boxes of one face on two frames."""


@dataclass(eq=False)
class Track:
    """One face from frame to frame.

    Attributes:
        box: Smoothed, float64 [4]: left, top, right and bottom.
        person: Who it is, or a number where nobody said so.
        lost: For how many frames it has not been seen.
    """

    box: np.ndarray
    person: str | int
    lost: int = 0


class Tracker:
    """Follows faces by their person, or by the overlap of their boxes.

    Args:
        smoothing: Share of the last smoothed box in the next one (an exponential moving average); 0 for none.
        hold: For how many frames a face that is not seen any more is taken to be where it was.
    """

    def __init__(self, smoothing: float, hold: int) -> None:
        self._smoothing, self._hold = smoothing, hold
        self._tracks: list[Track] = []
        self._numbers = count()

    def update(self, boxes: Sequence[Box]) -> list[Track]:
        """The faces on the next frame, those that are held included.

        Args:
            boxes: Seen on it.
        """
        free = list(self._tracks)
        for track in free:
            track.lost += 1
        for box in boxes:
            seen = np.array(box[:4])
            match = _match(box, seen, free)
            if match is None:
                self._tracks.append(Track(seen, box.person or next(self._numbers)))
                continue
            free.remove(match)
            match.box = self._smoothing * match.box + (1 - self._smoothing) * seen
            match.lost = 0
        self._tracks = [track for track in self._tracks if track.lost <= self._hold]
        return list(self._tracks)


def _match(box: Box, seen: np.ndarray, tracks: list[Track]) -> Track | None:
    """The track that goes on with a box."""
    if box.person:
        return next((track for track in tracks if track.person == box.person), None)
    overlaps = [
        (_overlap(seen, track.box), number) for number, track in enumerate(tracks) if isinstance(track.person, int)
    ]
    best, number = max(overlaps, default=(0.0, -1))
    return tracks[number] if best >= _SAME else None


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(sides.clip(min=0)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)
