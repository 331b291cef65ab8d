from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

MakeImage = Callable[..., bytes]


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    """Smooth random images, the same for the same seed."""

    def make(seed: int, width: int = 16, height: int = 16, *, grey: bool = False, kind: str = "JPEG") -> bytes:
        shape = (2, 2) if grey else (2, 2, 3)
        coarse = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture(autouse=True)
def _no_traces_in_the_users_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
