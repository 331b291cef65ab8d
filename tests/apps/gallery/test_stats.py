from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands


def test_what_a_gallery_holds(gallery: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery("enrol", images=people, flip=True, identifier="prf", threshold=0.3)
    gallery("renew", pid="all")
    capsys.readouterr()
    gallery("stats")
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "people 5", "templates 54, renewed 54 times", "kB in", "80 symbols out of 8, photograph and mirror image",
        "3 bits each", "a secret table for each symbol", "240 bits", "one master key and a random", "threshold 0.3",
    ):  # fmt: skip
        assert text in printed


def test_no_gallery(gallery: GalleryCommands) -> None:
    with pytest.raises(Exception, match="holds no gallery"):
        gallery("stats")
