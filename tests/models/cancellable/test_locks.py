from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from src.errors import UserError
from src.models.cancellable.locks import SharedLock, lock_for_writing


def test_readers_share_and_the_writer_waits_for_them(tmp_path: Path) -> None:
    lock, events = SharedLock(tmp_path), []

    def write() -> None:
        with lock.write():
            events.append("written")

    def read() -> None:
        with lock.read():
            events.append("read after")

    writer, late = threading.Thread(target=write), threading.Thread(target=read)
    with lock.read(), lock.read():
        writer.start()
        time.sleep(0.1)
        late.start()  # comes after the writer, and so is let in after it
        time.sleep(0.1)
        events.append("read")
    writer.join()
    late.join()
    assert events == ["read", "written", "read after"]


def test_there_is_one_writer_until_it_dies(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with lock_for_writing(tmp_path):
            os.write(writing, b"!")
            time.sleep(60)
    os.read(reading, 1)
    with pytest.raises(UserError, match="another process is writing"), lock_for_writing(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with lock_for_writing(tmp_path):
        pass


def test_locks_are_open_for_writing_as_network_file_systems_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds, flock = [], fcntl.flock

    def note(descriptor: int, kind: int) -> None:
        kinds.append((kind, fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE))
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", note)
    with lock_for_writing(tmp_path), SharedLock(tmp_path).read():
        pass
    with SharedLock(tmp_path).write():
        pass
    assert {access for _, access in kinds} == {os.O_RDWR}
    missing = lock_for_writing(tmp_path / "none")
    with pytest.raises(UserError, match=r"none/writer\.lock: cannot be opened for a lock \(No such file"), missing:
        pass


def test_a_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    with lock_for_writing(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(60)
    with lock_for_writing(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
