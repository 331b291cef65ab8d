from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from src.apps.overrides import CONF
from src.datamodules.sources.source import FaceSource


@pytest.fixture
def configured() -> Callable[..., FaceSource]:
    """Open a source by its name in the config group."""

    def open_source(name: str, /, **arguments: Any) -> FaceSource:
        GlobalHydra.instance().clear()
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            config = compose(overrides=[f"+source={name}"]).source
        return instantiate(config, **arguments)()

    return open_source
