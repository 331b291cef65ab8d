from __future__ import annotations

from pathlib import Path

import pytest
from support_anonymize import Commands, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("network") / "last.ckpt")


@pytest.fixture
def privface(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(checkpoint, monkeypatch)
