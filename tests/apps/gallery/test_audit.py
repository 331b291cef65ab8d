from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands

from src.apps.gallery.people_table import Announcement, PeopleTable


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


def test_everybody_has_a_name(enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    enrolled("audit", people=enrolled.people)
    assert "people.csv: names everybody of the gallery, and nobody else." in capsys.readouterr().out
    first, *_ = numbers = sorted(enrolled.pids().values())
    enrolled("revoke", pid=first)
    enrolled("audit", people=enrolled.people)
    assert "names 1 person who were revoked; enrol leaves them out." in capsys.readouterr().out
    rows = enrolled.people.read_text().splitlines()
    enrolled.people.write_text("\n".join([row for row in rows if not row.endswith(f",{numbers[1]}")] + [""]))
    with pytest.raises(SystemExit, match="1"):
        enrolled("audit", people=enrolled.people)
    assert f"does not name 1 person of the gallery: {numbers[1]}; " in capsys.readouterr().out
    with pytest.raises(Exception, match=r"people=.*nobody.csv: there is no such file"):
        enrolled("audit", people=enrolled.people.with_name("nobody.csv"))


def test_an_enrolment_was_interrupted(
    enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PeopleTable(enrolled.people).announce(Announcement("gallery", 1, ()))
    with pytest.raises(SystemExit, match="1"):
        enrolled("audit", people=enrolled.people)
    assert "an enrolment was interrupted; the next enrol finishes it." in capsys.readouterr().out
