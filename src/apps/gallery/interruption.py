"""Ctrl-C and SIGTERM, which schedulers send, as an orderly end with exit status 130."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["StopRequest", "deferred_stop", "stops_cleanly"]

_STOPPED = 130


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.is_set = False

    def __bool__(self) -> bool:
        return self.is_set


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """Within the block a first Ctrl-C or SIGTERM only sets the request; a second Ctrl-C stops at once."""
    request = StopRequest()

    def note(signum: int, frame: object) -> None:
        if request and signum == signal.SIGINT:
            raise KeyboardInterrupt
        request.is_set = True

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def stops_cleanly(consequence: str) -> Iterator[None]:
    """Say what became of the work where Ctrl-C or SIGTERM ends it, and leave with exit status 130."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(f"Stopped. {consequence}", highlight=False, soft_wrap=True)
        raise SystemExit(_STOPPED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
