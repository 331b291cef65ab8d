from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands


def test_scores_stay_and_stolen_templates_become_useless(
    enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrolled("identify", images=people)
    before = enrolled.matches.read_bytes()
    stolen = {path.name: path.read_bytes() for path in enrolled.templates.glob("*.drht")}
    enrolled("renew", pid="all")
    assert "Renewed 54 templates of 5 people." in capsys.readouterr().out
    enrolled("identify", images=people)
    assert enrolled.matches.read_bytes() == before
    assert not stolen.items() & {path.name: path.read_bytes() for path in enrolled.templates.glob("*.drht")}.items()


def test_some(enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = enrolled.pids()
    chosen = sorted(numbers)[:2]
    expected = sum(row["person"] in chosen for row in enrolled.rows())
    enrolled("renew", pid=[numbers[name] for name in chosen])
    assert f"Renewed {expected} templates of 2 people." in capsys.readouterr().out


def test_nobody_has_this_number(enrolled: GalleryCommands, people: Path) -> None:
    with pytest.raises(Exception, match="the first is 5; nothing was changed"):
        enrolled("renew", pid=[5, *enrolled.pids().values()])
