from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from src.apps.gallery.interruption import deferred_stop, stops_cleanly


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_until_it_is_asked_for(signum: signal.Signals) -> None:
    handler = signal.getsignal(signum)
    with deferred_stop() as stop:
        assert not stop
        os.kill(os.getpid(), signum)
        assert stop
    assert signal.getsignal(signum) is handler


def test_a_second_ctrl_c_stops_at_once() -> None:
    def stop_twice() -> None:
        with deferred_stop():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stop_twice()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, although shells have the commands that they start in the background ignore it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_says_what_became_of_the_work(signum: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    handler = signal.getsignal(signum)
    with pytest.raises(SystemExit, match="130"), stops_cleanly("Nothing was written."):
        os.kill(os.getpid(), signum)
    assert capsys.readouterr().err == "Stopped. Nothing was written.\n"
    assert signal.getsignal(signum) is handler
