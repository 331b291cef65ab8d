from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.errors import UserError
from src.models.cancellable import durable
from src.models.cancellable.durable import (
    PRIVATE,
    SHARED,
    check_private,
    explain_failure,
    make_folder,
    replace_file,
    wipe,
    write_file,
)


def test_a_file_is_as_private_as_asked_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    assert write_file(path, [b"new", memoryview(b" one")], PRIVATE) == hashlib.sha256(b"new one").hexdigest()
    assert path.read_bytes() == b"new one"
    assert path.stat().st_mode & 0o777 == 0o600
    write_file(path, [], SHARED)
    assert path.stat().st_mode & 0o777 == 0o644 & ~current_umask()


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    replace_file(tmp_path / "file", b"old", PRIVATE)
    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", b"new", PRIVATE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("size", [0, 5, (1 << 20) + 3])
def test_a_wiped_file_was_zeros_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    path, synced = tmp_path / "file", []
    path.write_bytes(os.urandom(size))
    fsync = os.fsync
    monkeypatch.setattr(durable.os, "fsync", lambda descriptor: (synced.append(path.read_bytes()), fsync(descriptor)))
    wipe(path)
    assert synced == [bytes(size)]
    assert not path.exists()


def test_half_a_secret_is_overwritten_before_it_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, wiped = tmp_path / "file", []
    wipe_file = durable.wipe
    monkeypatch.setattr(durable, "wipe", lambda path: (wiped.append(path.read_bytes()), wipe_file(path)))

    def chunks() -> Iterator[bytes]:
        yield bytes([1]) * (1 << 20)
        raise KeyboardInterrupt

    for mode in (SHARED, PRIVATE):
        path.write_bytes(b"left over")
        with pytest.raises(KeyboardInterrupt):
            write_file(path, chunks(), mode)
        assert not path.exists()
    assert wiped == [b"left over", bytes([1]) * (1 << 20)]


def test_errors_name_the_file_and_what_became_of_it(tmp_path: Path) -> None:
    explained = explain_failure(tmp_path, lambda: "all was lost")
    with pytest.raises(UserError, match="none/file: No such file or directory; all was lost"), explained:
        (tmp_path / "none" / "file").write_bytes(b"")
    explained = explain_failure(tmp_path, lambda: "all was lost")
    with pytest.raises(UserError, match=f"{tmp_path}: No space left on device; all was lost"), explained:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_folders(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", 0o700)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "empty").mkdir(mode=0o755)
    make_folder(tmp_path / "empty", 0o700)
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch(0o644)
    with pytest.raises(UserError, match="cannot be made a folder"):
        make_folder(tmp_path / "file", 0o700)
    make_folder(tmp_path, 0o700)  # is not empty: stays as it is
    with pytest.raises(UserError, match="others than its owner may read it"):
        check_private(tmp_path)


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
