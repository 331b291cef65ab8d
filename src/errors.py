"""The one exception for mistakes a user can make and mend."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """A mistake in a config, a file or a command line.

    The message names the file or the key, says what was expected and what was found, and how to mend it.
    Commands print it without a traceback and leave with a non-zero exit status.
    """
