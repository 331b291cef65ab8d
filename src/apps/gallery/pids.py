"""People as a command line names them."""

from __future__ import annotations

from collections.abc import Sequence

from src.errors import UserError

__all__ = ["MAX_PID", "parse_pids", "to_pid"]

MAX_PID = (1 << 63) - 1
"""Largest number that a person can have."""

_ALL = "all"


def parse_pids(pid: object) -> list[int] | None:
    """The numbers that were typed, each once; None for ``all``.

    Args:
        pid: One or several numbers, perhaps as text, or ``all``.

    Raises:
        UserError: There is none, or something is no number from 1 to `MAX_PID`.
    """
    typed = list(pid) if isinstance(pid, Sequence) and not isinstance(pid, str) else [pid]
    if typed == [_ALL]:
        return None
    if not typed:
        raise UserError("pid: expected at least one number of people.csv, or all")
    return list(dict.fromkeys(to_pid(value, "pid") for value in typed))


def to_pid(value: object, origin: str) -> int:
    """The number that a person has.

    Args:
        value: As typed.
        origin: Where, for messages.

    Raises:
        UserError: It is no whole number from 1 to `MAX_PID`.
    """
    text = str(value)
    is_number = not isinstance(value, bool) and text.isascii() and text.isdigit() and len(text) <= 20
    if not is_number or not 1 <= int(text) <= MAX_PID:
        raise UserError(f"{origin}: expected a number from 1 to {MAX_PID}, found {value!r}")
    return int(text)
