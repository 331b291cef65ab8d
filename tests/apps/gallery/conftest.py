"""People drawn once for all tests of the gallery commands, and a network that tells them apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands, draw_people, write_rank_hash


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the folders of five people, 54 photographs."""
    return draw_people(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def checkpoint(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a network that makes codes of 40 symbols out of 8."""
    return write_rank_hash(tmp_path_factory.mktemp("run") / "last.ckpt", people)


@pytest.fixture
def gallery(tmp_path: Path, checkpoint: Path) -> GalleryCommands:
    """The commands on a gallery that is not there yet."""
    return GalleryCommands(tmp_path / "gallery", checkpoint)


@pytest.fixture(scope="session")
def _enrolled(people: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enrolled") / "gallery"
    GalleryCommands(folder, checkpoint)("enrol", images=people)
    return folder


@pytest.fixture
def enrolled(_enrolled: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> GalleryCommands:
    """The commands on a gallery of all the people, with nothing printed yet."""
    shutil.copytree(_enrolled, tmp_path / "gallery")
    capsys.readouterr()
    return GalleryCommands(tmp_path / "gallery", checkpoint)
