"""`privface convert` as a user types it."""

from __future__ import annotations

import hashlib
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support_checkpoint import write_checkpoint
from support_commands import run_command

from src.apps import convert
from src.errors import UserError
from src.models.networks.backbone import Backbone
from src.models.networks.iresnet import iresnet18
from src.models.networks.mini import MiniFaceNet
from src.models.networks.onnx_network import OnnxNetwork
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork
from src.models.networks.weights import load_weights
from src.models.networks.whitened_pca import WhitenedPCA

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
FILES = ["README.md", "model.onnx", "model.safetensors", "model.yaml"]


def fitted_pca() -> WhitenedPCA:
    network = WhitenedPCA(embedding_size=8, size=32)
    network.fit(np.random.default_rng(0).uniform(-1, 1, (20, 3, 32, 32)).astype(np.float32))
    return network


def checkpoint(folder: Path, network: Backbone, target: str, **arguments: Any) -> Path:
    backbone = {"_target_": target, "embedding_size": network.embedding_size, "size": 32, **arguments}
    return write_checkpoint(folder / "tiny" / "checkpoints" / "last.ckpt", network, backbone, 32)


def rank_hash_checkpoint(folder: Path) -> tuple[RankHashNetwork, Path]:
    """Codes of 24 symbols out of 8 of a face's principal components, and a checkpoint of them."""
    torch.manual_seed(0)
    network = RankHashNetwork(fitted_pca(), partial(RankHashLayer, m=24, q=8, permutation_seed=1)).eval()
    layer = {"_target_": "src.models.networks.rank_hash.RankHashLayer", "_partial_": True}
    model = {"_target_": "src.models.drh.DRH", "layer": {**layer, "m": 24, "q": 8, "permutation_seed": 1}}
    backbone = {"_target_": "src.models.networks.whitened_pca.WhitenedPCA", "embedding_size": 8, "size": 32}
    return network, write_checkpoint(folder / "tiny" / "checkpoints" / "last.ckpt", network, backbone, 32, model)


def privface(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("privface", "convert", *arguments)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Backbone, Path, str]:
    """A network, the folder it was converted to by a command, and what the command printed."""
    folder = tmp_path_factory.mktemp("convert")
    network = MiniFaceNet(16, 32).eval()
    path = checkpoint(folder, network, "src.models.networks.mini.MiniFaceNet")
    result = privface(f"ckpt={path}", f"out={folder / 'deep' / 'mini'}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return network, folder / "deep" / "mini", result.stdout


@pytest.mark.slow
def test_writes_four_files_and_says_so(converted: tuple[Backbone, Path, str]) -> None:
    _, out, printed = converted
    assert sorted(file.name for file in out.iterdir()) == FILES
    assert [file.name for file in out.parent.iterdir()] == ["mini"]
    for name in FILES:
        assert name in printed
    assert "MB" in printed
    assert "embeddings of model.onnx differ by at most" in printed


@pytest.mark.slow
def test_files_hold_the_network(converted: tuple[Backbone, Path, str]) -> None:
    network, out, _ = converted
    facts = OmegaConf.load(out / "model.yaml")
    built = instantiate(facts.backbone).eval()
    load_weights(built, out / "model.safetensors")
    assert torch.equal(built(IMAGES), network(IMAGES))
    torch.testing.assert_close(OnnxNetwork(out / "model.onnx")(IMAGES), network(IMAGES), atol=1e-5, rtol=1e-4)
    assert facts.onnx_difference < 1e-5
    assert facts.sha256["model.safetensors"] == hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert facts.input == {"size": 32, "color": "rgb", "mean": 127.5, "std": 127.5}
    assert (facts.experiment, facts.embedding_size, facts.training.steps) == ("tiny", 16, 1234)
    assert "# tiny" in (out / "README.md").read_text()


@pytest.mark.slow
@torch.no_grad()
def test_iresnet(tmp_path: Path) -> None:
    network = iresnet18(16, 32).eval()
    convert.run(
        checkpoint(tmp_path, network, "src.models.networks.iresnet.iresnet18"), tmp_path / "out", tolerance=1e-4
    )
    embeddings = network(IMAGES)
    scale = float(embeddings.abs().max())  # of an untrained network it is millions
    torch.testing.assert_close(OnnxNetwork(tmp_path / "out/model.onnx")(IMAGES), embeddings, atol=1e-5 * scale, rtol=0)


def test_eigenfaces_into_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = fitted_pca()
    (tmp_path / "out").mkdir()
    path = checkpoint(tmp_path, network, "src.models.networks.whitened_pca.WhitenedPCA")
    convert.run(path, tmp_path / "out", tolerance=1e-4)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == FILES
    assert (
        "24.6" in (tmp_path / "out" / "README.md").read_text() or "27,648" in (tmp_path / "out/README.md").read_text()
    )
    assert "differ by at most" in capsys.readouterr().out


@pytest.mark.parametrize("tolerance", [0.0, float("nan")])
def test_nothing_is_left_when_the_onnx_file_differs(tolerance: float, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, fitted_pca(), "src.models.networks.whitened_pca.WhitenedPCA")
    with pytest.raises(UserError, match=r"does not compute what the network does: .*Nothing was written"):
        convert.run(path, tmp_path / "out", tolerance=tolerance)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny"]


@torch.no_grad()
def test_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, path = rank_hash_checkpoint(tmp_path)
    out = tmp_path / "out"
    convert.run(path, out, tolerance=1e-3)
    assert sorted(file.name for file in out.iterdir()) == FILES
    assert "symbols of model.onnx differ in a share of " in capsys.readouterr().out
    facts = OmegaConf.load(out / "model.yaml")
    assert facts.code == {"m": 24, "q": 8, "dtype": "uint8"}
    assert 0 <= facts.onnx_difference < 1e-3
    built = instantiate(facts.backbone).eval()
    load_weights(built, out / "model.safetensors")
    codes = built(IMAGES)
    assert (codes.dtype, codes.shape) == (torch.uint8, (3, 24))
    assert torch.equal(codes, network(IMAGES))
    (exported,) = onnxruntime.InferenceSession(out / "model.onnx").run(["codes"], {"images": IMAGES.numpy()})
    assert (exported == codes.numpy()).mean() > 0.95
    assert "24 symbols out of an alphabet of 8" in (out / "README.md").read_text()


def test_nothing_is_left_when_codes_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "unequal_symbols", lambda *_: 0.0123)
    with pytest.raises(UserError, match=r"symbols of model.onnx differ in a share of 1.2e-02, allowed are 1.0e-04"):
        convert.run(rank_hash_checkpoint(tmp_path)[1], tmp_path / "out", tolerance=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.slow
def test_codes_as_typed_and_evaluated_in_vain(tmp_path: Path) -> None:
    result = privface(f"ckpt={rank_hash_checkpoint(tmp_path)[1]}", f"out={tmp_path / 'out'}")
    assert (result.returncode, result.stderr) == (0, "")
    arguments = ("experiment=drh", f"ckpt_path={tmp_path / 'out/model.onnx'}", f"hydra.run.dir={tmp_path / 'eval'}")
    result = run_command("eval.py", *arguments, root=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "yields codes, symbols out of 8, where embeddings are expected" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("place", ["out", "out/model.onnx"])
def test_what_is_there_stays(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        convert.run("unread.ckpt", tmp_path / "out", tolerance=1e-4)
    assert (tmp_path / place).read_text() == "mine"
