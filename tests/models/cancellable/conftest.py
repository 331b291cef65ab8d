from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery import PARAMETERS

from src.models.cancellable.gallery import CancellableGallery


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Where templates and identifiers are."""
    return tmp_path / "templates", tmp_path / "identifiers"


@pytest.fixture(params=["csprng", "prf"])
def gallery(folders: tuple[Path, Path], request: pytest.FixtureRequest) -> CancellableGallery:
    """An empty gallery of either kind, open for writing."""
    return CancellableGallery.create(*folders, PARAMETERS, request.param)
