from __future__ import annotations

import inspect

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from src.apps.overrides import CONF, check
from src.models.suppression.suppressor import Suppressor

METHODS = sorted(path.stem for path in (CONF / "suppressor").glob("*.yaml"))


def test_the_comparison_has_every_method() -> None:
    config = check("train", ["experiment=gender_angular/compare"])
    assert sorted(config.methods) == METHODS
    methods = instantiate(config.methods)
    assert all(isinstance(method, Suppressor) for method in methods.values())


@pytest.mark.parametrize("name", METHODS)
def test_a_config_has_every_argument_of_its_class_with_its_default(name: str) -> None:
    config = OmegaConf.to_container(OmegaConf.load(CONF / "suppressor" / f"{name}.yaml"))
    assert isinstance(config, dict)
    parameters = inspect.signature(get_class(config.pop("_target_"))).parameters
    assert list(config) == [key for key in parameters if key not in ("args", "kwargs")]
    for key, value in config.items():
        if not str(value).startswith("${"):
            assert value == parameters[key].default
