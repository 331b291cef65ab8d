from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support_checkpoint import write_checkpoint

from src.apps.checkpoint import TrainedCheckpoint
from src.errors import UserError
from src.models.networks.foreign import ForeignNetwork
from src.models.networks.mini import MiniFaceNet
from src.models.networks.mobilefacenet import mbf
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork
from src.models.networks.weights import weights_fingerprint

MINI = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 16, "size": 32}


def test_reads_config_and_weights(tmp_path: Path) -> None:
    network = MiniFaceNet(16, 32)
    checkpoint = TrainedCheckpoint.read(write_checkpoint(tmp_path / "last.ckpt", network, MINI, 32))
    assert (checkpoint.size, checkpoint.epochs, checkpoint.steps) == (32, 3, 1234)
    assert checkpoint.config["name"] == "tiny"
    assert checkpoint.backbone == MINI
    built = checkpoint.build_backbone()
    assert not built.training
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(built(images), network.eval()(images))


def test_weights_that_the_backbone_began_with_are_not_needed(tmp_path: Path) -> None:
    network = ForeignNetwork(MiniFaceNet(16, 32), size=32)
    backbone = {
        "_target_": "src.models.networks.foreign.ForeignNetwork",
        "network": MINI,
        "weights": "/home/someone/gone.pth",
        "size": 32,
    }
    built = TrainedCheckpoint.read(write_checkpoint(tmp_path / "last.ckpt", network, backbone, 32)).build_backbone()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(built(images), network.eval()(images))


@pytest.mark.parametrize(
    ("target", "network"),
    [("os.system", None), ("builtins.eval", None), ("shutil.rmtree", MINI), ("subprocess.Popen", None)],
)
def test_calls_nothing_but_networks(target: str, network: Any, tmp_path: Path) -> None:
    backbone: dict[str, Any] = {"_target_": target, "command": "true"}
    if network is not None:  # a network with the call among its arguments
        backbone = {**network, "inner": [{"_target_": target, "path": str(tmp_path)}]}
    checkpoint = TrainedCheckpoint.read(write_checkpoint(tmp_path / "last.ckpt", MiniFaceNet(16, 32), backbone, 32))
    with pytest.raises(UserError, match=f"its config would call {target}, which is neither a class"):
        checkpoint.build_backbone()
    assert tmp_path.exists()


def test_functions_that_build_networks_may_be_called(tmp_path: Path) -> None:
    backbone = {"_target_": "src.models.networks.mobilefacenet.mbf", "embedding_size": 16, "size": 16}
    path = write_checkpoint(tmp_path / "last.ckpt", mbf(16, 16), backbone, 16)
    assert TrainedCheckpoint.read(path).build_backbone().embedding_size == 16


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(2),
        {"state_dict": {}},
        {"epoch": 0, "global_step": 0, "hyper_parameters": {"model": {}, "datamodule": {"size": 32}}},
        {"epoch": 0, "global_step": 0, "hyper_parameters": {"model": {"backbone": {}}, "datamodule": {"size": 32}}},
        {"epoch": 0, "global_step": 0, "hyper_parameters": {"model": {"backbone": MINI}, "datamodule": {"size": None}}},
        {"hyper_parameters": [1]},
        [],
    ],
)
def test_refuses_files_of_weights_alone(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights\.pt does not hold the config of a training"):
        TrainedCheckpoint.read(tmp_path / "weights.pt")


def test_a_target_that_cannot_be_found(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "last.ckpt", MiniFaceNet(16, 32), {"_target_": "nowhere.Network"}, 32)
    with pytest.raises(UserError, match=r"there is no nowhere\.Network, its network; install"):
        TrainedCheckpoint.read(path).build_backbone()


def rank_hash(**changes: Any) -> dict[str, Any]:
    """Config of deep rank hashing, as far as the network depends on it."""
    layer = {"_target_": "src.models.networks.rank_hash.RankHashLayer", "_partial_": True, "m": 12, "q": 4, "T": 2.0}
    return {"_target_": "src.models.drh.DRH", "freeze": True, "code_mode": "trunc", "layer": layer} | changes


def test_network_that_makes_codes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = partial(RankHashLayer, m=12, q=4, T=2.0)
    network = RankHashNetwork(MiniFaceNet(16, 32), layer, code_mode="trunc").eval()
    path = write_checkpoint(tmp_path / "last.ckpt", network, MINI, 32, rank_hash())
    built = TrainedCheckpoint.read(path).build_backbone()
    assert isinstance(built, RankHashNetwork)
    assert not built.training
    assert not built.layer.training
    assert (built.size, built.m, built.alphabet, built.code_mode) == (32, 12, 4, "trunc")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(built(images), network(images))
    assert weights_fingerprint(built) == weights_fingerprint(network)


def test_codes_that_are_not_those_of_the_config(tmp_path: Path) -> None:
    network = RankHashNetwork(MiniFaceNet(16, 32), partial(RankHashLayer, m=24, q=2))
    path = write_checkpoint(tmp_path / "last.ckpt", network, MINI, 32, rank_hash())
    with pytest.raises(UserError, match=r"another model's codes: 24 symbols out of 2 .* says 12 symbols out of 4"):
        TrainedCheckpoint.read(path).build_backbone()


def test_layer_of_a_rank_hash_cannot_call_anything_else(tmp_path: Path) -> None:
    network = RankHashNetwork(MiniFaceNet(16, 32), partial(RankHashLayer, m=12, q=4))
    model = rank_hash()
    model["layer"]["init_std"] = {"_target_": "os.system", "command": "true"}
    path = write_checkpoint(tmp_path / "last.ckpt", network, MINI, 32, model)
    with pytest.raises(UserError, match=r"its config would call os\.system"):
        TrainedCheckpoint.read(path).build_backbone()
