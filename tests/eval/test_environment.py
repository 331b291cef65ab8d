from __future__ import annotations

import json
import platform
import socket

import torch

from src.eval.environment import collect_environment, config_hash


def test_describes_versions_and_not_the_host() -> None:
    environment = collect_environment({"seed": 0}, "cpu")
    assert environment["python"] == platform.python_version()
    assert environment["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert environment["device"] == "cpu"
    assert environment["cpu_operators"].startswith(("compiled", "reference"))
    assert {"lightning", "numpy", "cuda_operators", "commit", "dirty", "config_hash"} <= set(environment)
    assert socket.gethostname() not in json.dumps(environment)


def test_hash_ignores_paths_and_order_only() -> None:
    config = {"seed": 0, "model": {"depth": 50, "folder": "${paths.data}"}, "paths": {"data": "/a"}}
    moved = {"paths": {"data": "/b"}, "model": {"folder": "${paths.data}", "depth": 50}, "seed": 0}
    assert config_hash(config) == config_hash(moved)
    assert config_hash(config) != config_hash(config | {"seed": 1})
    assert len(config_hash(config)) == 64
