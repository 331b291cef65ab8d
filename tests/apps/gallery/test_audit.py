from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands


def test_nothing_is_wrong(enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    enrolled("audit")
    assert capsys.readouterr().out == "54 templates and 54 identifiers looked at: nothing is wrong.\n"


def test_a_leftover_is_found_and_mended(
    enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leftover = enrolled.identifiers / "00000099.drhi"
    leftover.write_bytes(b"half of a file")
    leftover.chmod(0o600)
    with pytest.raises(SystemExit, match="1"):
        enrolled("audit")
    printed = capsys.readouterr().out
    assert "1 finding; --repair mends what can be mended" in printed
    assert "leftover file" in printed
    enrolled("audit", repair=True)
    assert "nothing is wrong any more" in capsys.readouterr().out
    assert not leftover.exists()
    enrolled("audit")


def test_a_damaged_file_stays_wrong(
    enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(enrolled.templates.glob("*.drht"))
    content = bytearray(file.read_bytes())
    content[-70] ^= 1
    file.write_bytes(content)
    with pytest.raises(SystemExit, match="1"):
        enrolled("audit", repair=True)
    assert "1 finding; what is left cannot be mended here" in capsys.readouterr().out
