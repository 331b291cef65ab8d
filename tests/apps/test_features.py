"""`privface features` as a user types it, and what it computes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from support_checkpoint import write_checkpoint
from support_pairs import write_pairs
from support_source import picture
from torch import nn

from src.apps.overrides import CONF, check
from src.apps.user_errors import explain
from src.datamodules.decode import decode
from src.datamodules.identity_features import medoids
from src.datamodules.sample import to_float
from src.datamodules.shards import ShardIndex
from src.datamodules.sources.paired_folders import PairedFolders
from src.datamodules.sources.shard_source import ShardSource
from src.errors import UserError
from src.models.export import export_onnx
from src.models.networks.mini import MiniFaceNet
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork

STEMS = ["2_1", "2_2", "2_10", "10_1", "10_2", "10_3", "7_1"]
NATURAL = ["2_1.jpg", "2_2.jpg", "2_10.jpg", "7_1.jpg", "10_1.jpg", "10_2.jpg", "10_3.jpg"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = MiniFaceNet(16, 32)
    network.train()
    network(torch.rand(32, 3, 32, 32) * 2 - 1)  # statistics of the batch normalisation other than the first ones
    return network.eval()


@pytest.fixture(scope="module")
def checkpoint(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 16, "size": 32}
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.ckpt", network, config, 32)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs", STEMS)


@torch.no_grad()
def _embeddings(network: nn.Module) -> dict[str, np.ndarray]:
    """What the network makes of the visible image of every stem."""
    images = torch.stack([decode(picture(2 * number, 32, 32)) for number in range(len(STEMS))])
    return {f"{stem}.jpg": row for stem, row in zip(STEMS, network(to_float(images)).numpy(), strict=True)}


def _genuine_similarity(network: nn.Module) -> tuple[float, float]:
    """Mean and deviation of the cosines of the six pairs of images of identities 2 and 10."""
    rows = np.stack([_embeddings(network)[name] for name in NATURAL])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = [unit[i] @ unit[j] for group in ((0, 1, 2), (4, 5, 6)) for i, j in combinations(group, 2)]
    return float(np.mean(cosines)), float(np.std(cosines))


def _run(**keys: Any) -> None:
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in keys.items()]
    config = check("privface", ["app=features", *overrides])
    try:
        instantiate(config.run)
    except InstantiationException as error:
        raise UserError(explain(error)) from error


def _read(path: Path) -> dict[str, np.ndarray]:
    return {name: np.array(vector, np.float32) for name, vector in json.loads(path.read_text()).items()}


def test_as_typed(pairs: Path, checkpoint: Path, network: nn.Module) -> None:
    command = [sys.executable, "-m", "src.apps.main", "features", f"source.root={pairs}", f"ckpt_path={checkpoint}"]
    typed = subprocess.run([*command, "batch_size=3"], capture_output=True, text=True, cwd=CONF.parent, check=False)
    assert typed.returncode == 0, typed.stderr
    assert "7 of 3 identities" in typed.stdout
    assert "16 numbers, length 1 to 1" in typed.stdout
    mean, std = _genuine_similarity(network)
    assert f"similarity_mean={mean:.3f} similarity_std={std:.3f} of two images" in " ".join(typed.stdout.split())
    found = _read(pairs / "identity_features.json")
    assert list(found) == NATURAL
    for name, embedding in _embeddings(network).items():
        np.testing.assert_allclose(found[name], embedding / np.linalg.norm(embedding), atol=1e-5)
    with pytest.raises(UserError, match=r"identity_features\.json: exists already; overwrite=true replaces it"):
        _run(source__root=pairs, ckpt_path=checkpoint)
    source = PairedFolders(pairs, features=pairs / "identity_features.json")
    assert source.key(1) == "VIS/2_10.jpg"
    assert np.array_equal(source.feature(1), found["2_10.jpg"])


def test_medoid_not_normalised(pairs: Path, checkpoint: Path, network: nn.Module, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "features.json"
    _run(source__root=pairs, ckpt_path=checkpoint, mode="medoid", l2_normalize="false", out=out)
    found, embeddings = _read(out), _embeddings(network)
    rows = np.stack([embeddings[name] for name in NATURAL])
    chosen = medoids(rows, np.array([0, 0, 0, 1, 2, 2, 2]), NATURAL)
    assert chosen[3] == 3
    np.testing.assert_allclose(np.stack(list(found.values())), rows[chosen], atol=1e-4 * float(np.abs(rows).max()))
    _run(source__root=pairs, ckpt_path=checkpoint, out=out, overwrite="true")
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in _read(out).values()], 1, rtol=1e-5)


def test_shards_hold_images_and_features(
    pairs: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(source__root=pairs, ckpt_path=checkpoint)
    _run(source__root=pairs, ckpt_path=checkpoint, out=tmp_path / "shards", samples_per_shard=4)
    source, features = ShardSource(tmp_path / "shards"), _read(pairs / "identity_features.json")
    assert len(source) == len(STEMS)
    assert source.modalities == ("image", "nir")
    for row in range(len(source)):
        name = source.metadata(row)["source"]
        assert source.content(row) == (pairs / name).read_bytes()
        np.testing.assert_allclose(source.feature(row), features[name.removeprefix("VIS/")], atol=1e-6)
    facts = ShardIndex.load(tmp_path / "shards").attributes["features"]
    assert (facts["mode"], facts["l2_normalized"], len(facts["recogniser"])) == ("all", True, 64)
    assert source.resolution == 32
    _run(source__root=pairs, ckpt_path=checkpoint, out=tmp_path / "shards", samples_per_shard=4)
    assert "holds these shards already" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds a data set that was prepared otherwise"):
        _run(source__root=pairs, ckpt_path=checkpoint, out=tmp_path / "shards", samples_per_shard=4, mode="medoid")


def test_features_of_shards_replace_those_in_them(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    _run(source__root=pairs, ckpt_path=checkpoint, out=tmp_path / "raw", l2_normalize="false")
    _run(source="shards", source__root=tmp_path / "raw", ckpt_path=checkpoint, out=tmp_path / "unit")
    source = ShardSource(tmp_path / "unit")
    np.testing.assert_allclose([np.linalg.norm(source.feature(row)) for row in range(len(source))], 1, rtol=1e-5)
    with pytest.raises(UserError, match=r"out: expected FILE\.json, or where to write shards"):
        _run(source="shards", source__root=tmp_path / "raw", ckpt_path=checkpoint)


@pytest.mark.parametrize("kind", ["weights", pytest.param("onnx", marks=pytest.mark.slow)])
def test_other_files_of_networks(kind: str, pairs: Path, network: nn.Module, tmp_path: Path) -> None:
    keys: dict[str, Any] = {}
    if kind == "onnx":
        export_onnx(network, 32, path := tmp_path / "network.onnx")
    else:
        torch.save(network.state_dict(), path := tmp_path / "network.pth")
        keys = {"model/backbone@backbone": "mini", "backbone__embedding_size": 16, "datamodule__size": 32}
    _run(source__root=pairs, ckpt_path=path, l2_normalize="false", **keys)
    found = _read(pairs / "identity_features.json")
    for name, embedding in _embeddings(network).items():
        np.testing.assert_allclose(found[name], embedding, atol=1e-3 * float(np.abs(embedding).max()))


def test_mistakes(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    for keys, message in (
        ({"mode": "one"}, "mode: expected all or medoid, found 'one'"),
        ({"batch_size": 0}, "batch_size: expected at least 1, found 0"),
        ({"device": "tpu"}, "device: expected auto, cpu or cuda"),
        ({"ckpt_path": tmp_path / "none.ckpt"}, "none.ckpt"),
        ({"source__root": tmp_path / "none"}, "no such folder"),
        ({"out": "s3://bucket/f.json"}, "the file is written locally only"),
    ):
        with pytest.raises(UserError, match=message):
            _run(**{"source__root": pairs, "ckpt_path": checkpoint} | keys)
    (pairs / "VIS/2_10.jpg").write_bytes(b"rubbish")
    with pytest.raises(UserError, match=r"images cannot be read: VIS/2_10\.jpg: not a readable"):
        _run(source__root=pairs, ckpt_path=checkpoint)
    assert not (pairs / "identity_features.json").exists()


def test_codes_are_no_features(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    layer = {"_target_": "src.models.networks.rank_hash.RankHashLayer", "_partial_": True, "m": 4, "q": 4}
    content["hyper_parameters"]["model"] |= {"_target_": "src.models.drh.DRH", "layer": layer}
    network = RankHashNetwork(MiniFaceNet(16, 32), partial(RankHashLayer, m=4, q=4))
    content["state_dict"] = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    torch.save(content, tmp_path / "codes.ckpt")
    with pytest.raises(UserError, match="makes codes; expected a recogniser"):
        _run(source__root=pairs, ckpt_path=tmp_path / "codes.ckpt")
