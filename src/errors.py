"""The one exception for mistakes a user can make and mend."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["UserError", "check_choice"]


class UserError(ValueError):
    """A mistake in a config, a file or a command line.

    The message names the file or the key, says what was expected and what was found, and how to mend it.
    Commands print it without a traceback and leave with a non-zero exit status.
    """


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise UserError unless ``value`` is one of ``choices``.

    Args:
        name: Name of the argument, for the message.
        value: What was given.
        choices: What is allowed.
    """
    if value not in choices:
        raise UserError(f"{name}: expected {', '.join(choices[:-1])} or {choices[-1]}, found {value!r}")
