from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.files import atomic_write


def test_content_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path, "w") as file:
        file.write("grüße")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "grüße"


def test_failure_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "file").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"new")
    assert [exists for _, exists in synced] == [False, True]
    assert synced[1][0] == str(tmp_path)


def test_a_private_file_is_so_from_the_first_byte_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o644)
    with atomic_write(path, "w", private=True) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600
