from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from src.apps.overrides import CONF
from src.datamodules.shards import ShardIndex


def _index(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "src.apps.main", "index", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False)


def _write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_index_of_foreign_tars(tmp_path: Path) -> None:
    _write_tar(tmp_path / "a.tar", {"0.jpg": b"x", "0.cls": b"1", "1.png": b"x", "1.cls": b"0"})
    _write_tar(tmp_path / "b.tar", {"2.jpg": b"x", "2.cls": b"1"})
    result = _index(f"root={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert "3 samples of 2 classes in 2 shards" in result.stdout
    assert ShardIndex.load(tmp_path).label.tolist() == [1, 0, 1]
    (tmp_path / "b.tar").unlink()
    refused = _index(f"root={tmp_path}")
    assert refused.returncode == 1
    assert "exists already; overwrite=true replaces it" in refused.stderr
    assert _index(f"root={tmp_path}", "--overwrite").returncode == 0
    assert len(ShardIndex.load(tmp_path)) == 2


def test_no_tars(tmp_path: Path) -> None:
    result = _index(f"root={tmp_path}")
    assert result.returncode == 1
    assert "no *.tar found" in result.stderr
    assert list(tmp_path.iterdir()) == []
