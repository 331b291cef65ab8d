from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands

from src.models.cancellable.gallery import CancellableGallery


def test_who_is_revoked_is_found_no_more(
    enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = enrolled.pids()
    name = max(numbers)
    photographs = len(list((people / name).glob("*.jpg")))
    enrolled("revoke", pid=numbers[name])
    printed = capsys.readouterr().out
    assert f"Revoked {photographs} templates of 1 person" in printed
    assert "Their rows of people.csv keep enrol from enrolling them again" in printed
    enrolled("identify", images=people, threshold=0.99)
    found = {int(row["pid"]) for row in enrolled.rows(enrolled.matches)}
    assert found == set(numbers.values()) - {numbers[name]}
    enrolled("audit")
    assert "nothing is wrong" in capsys.readouterr().out


def test_nobody_has_this_number(enrolled: GalleryCommands, people: Path) -> None:
    with pytest.raises(Exception, match="the first is 5; nothing was changed"):
        enrolled("revoke", pid=[5, *enrolled.pids().values()])
    with pytest.raises(Exception, match="pid: expected a number"):
        enrolled("revoke", pid="ann")


def test_stopped(
    enrolled: GalleryCommands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(self: CancellableGallery, pids: list[int]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(CancellableGallery, "revoke", stop)
    with pytest.raises(SystemExit, match="130"):
        enrolled("revoke", pid="all")
    assert "Either nobody or all were revoked: run privface gallery audit --repair, then stats." in (
        capsys.readouterr().err
    )
