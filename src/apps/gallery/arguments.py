"""What was typed for keys whose default, null or nothing, does not tell of which kind they are."""

from __future__ import annotations

from pathlib import Path

from src.errors import UserError

__all__ = ["check_kind", "to_path"]

_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def check_kind(key: str, value: object, kind: type[bool] | type[int] | type[float]) -> None:
    """Raise UserError unless a value is of a kind, or null."""
    accepted = (int, float) if kind is float else kind
    if value is not None and (not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool)):
        raise UserError(f"{key}: expected {_KINDS[kind]}, found {value!r}")


def to_path(key: str, value: Path | str) -> Path:
    """The path that was typed.

    Raises:
        UserError: It was read as something else: a folder named by digits only is a number, unless typed as a path.
    """
    if not isinstance(value, (Path, str)) or not str(value):
        raise UserError(f"{key}: expected a path, found {value!r}; a name that reads as something else is typed ./NAME")
    return Path(value)
