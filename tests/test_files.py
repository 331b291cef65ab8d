from __future__ import annotations

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
