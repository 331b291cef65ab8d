from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pytest
from support_anonymize import Commands, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("network") / "last.ckpt")


@pytest.fixture(autouse=True)
def _same_salts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two passphrases differ by as much in every run; of 16 bits, few may differ, or their colours cancel."""
    monkeypatch.setattr(secrets, "token_bytes", np.random.default_rng(0).bytes)


@pytest.fixture
def privface(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(checkpoint, monkeypatch)
