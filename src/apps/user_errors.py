"""Mistakes of a user as messages instead of tracebacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import InstantiationException
from rich.console import Console
from rich.markup import escape

from src.errors import UserError

__all__ = ["explain", "user_errors"]


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a mistake in the config or the data into one message and exit status 1.

    That is a `UserError`, also where Hydra wraps it, and a class that refuses its arguments. With
    ``HYDRA_FULL_ERROR=1`` in the environment the traceback is shown instead.
    """
    try:
        yield
    except (UserError, InstantiationException) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        Console(stderr=True).print(
            f"[bold red]error:[/bold red] {escape(explain(error))}", highlight=False, soft_wrap=True
        )
        raise SystemExit(1) from None


def explain(error: BaseException) -> str:
    """The message of a `UserError`, also of one that Hydra wraps; of another error, also how to see its origin."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__
    return f"{error}\nHYDRA_FULL_ERROR=1 shows where."
