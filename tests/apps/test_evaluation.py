"""`eval.py` as a user types it, on benchmarks small enough for a test."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support_checkpoint import write_checkpoint
from support_commands import run_command
from support_ijb import write_ijb

from src.apps.overrides import CONF
from src.datamodules.sample import to_float
from src.datamodules.verification_sets import read_bin, write_bin
from src.models.export import export_onnx
from src.models.networks.mini import MiniFaceNet
from src.models.networks.weights import load_weights

ROOT = CONF.parent
SIZE, WIDTH, PAIRS = 32, 16, 60
EARLIER = "embeddings of an earlier evaluation"


def faces(seed: int) -> list[bytes]:
    """Two images for each of the pairs, alike in every second pair."""
    rng = np.random.default_rng(seed)
    contents = []
    for pair in range(PAIRS):
        first, other = (rng.integers(0, 255, (4, 4, 3)) for _ in range(2))
        for shades in (first, first if pair % 2 else other):
            noisy = np.clip(shades + rng.normal(0, 20, shades.shape), 0, 255).astype(np.uint8)
            image = Image.fromarray(noisy).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            file = io.BytesIO()
            image.save(file, "PNG")
            contents.append(file.getvalue())
    return contents


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with benchmarks and the checkpoints of two runs."""
    folder = tmp_path_factory.mktemp("privface")
    same = [bool(pair % 2) for pair in range(PAIRS)]
    for seed, name in enumerate(("agedb_30", "cfp_fp")):
        write_bin(_made(folder / "data/benchmarks") / f"{name}.bin", faces(seed), same)
    crops = write_ijb(folder / "data/benchmarks/IJBC", b"") / "loose_crop"
    for crop, content in zip(sorted(crops.iterdir()), faces(2), strict=False):
        crop.write_bytes(content)
    backbone = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": WIDTH, "size": SIZE}
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        network = MiniFaceNet(embedding_size=WIDTH, size=SIZE)
        write_checkpoint(folder / f"runs/{name}/checkpoints/last.ckpt", network, backbone, SIZE)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


NETWORK = (
    "experiment=arcface",
    "datamodule=folder",
    "datamodule.source.root=.",
    "paths.benchmarks=${paths.data}/benchmarks",
    "benchmark=[agedb_30,cfp_fp]",
    f"model.backbone.embedding_size={WIDTH}",
)


def evaluate(
    root: Path, name: str, *arguments: str, common: tuple[str, ...] = NETWORK, status: int = 0
) -> tuple[Any, str]:
    """Results, and what was printed or, if it should fail, the message."""
    output = root / "runs" / "evaluations" / name
    always = (f"datamodule.size={SIZE}", "datamodule.num_workers=0", f"hydra.run.dir={output}")
    result = run_command("eval.py", *common, *always, *arguments, root=root)
    assert result.returncode == status, result.stderr[-3000:]
    if status:
        return None, result.stderr
    return json.loads((output / "results.json").read_text()), result.stdout


def checkpoint(root: Path, run: str) -> str:
    return str(root / "runs" / run / "checkpoints" / "last.ckpt")


@pytest.mark.slow
def test_embeddings_are_computed_once(root: Path) -> None:
    benchmark = root / "data/benchmarks/cfp_fp.bin"
    path = f"ckpt_path={checkpoint(root, 'first')}"
    first, printed = evaluate(root, "once", path)
    assert EARLIER not in printed
    assert first["benchmarks"]["agedb_30"]["auc"] > 0.6
    low, high = first["intervals"]["agedb_30"]["auc"]
    assert low < first["benchmarks"]["agedb_30"]["auc"] < high
    anew, printed = evaluate(root, "anew", path, "--no-cache")
    assert EARLIER not in printed
    assert anew["benchmarks"] == first["benchmarks"]

    original = benchmark.read_bytes()
    try:
        write_bin(benchmark, faces(9), [bool(pair % 2) for pair in range(PAIRS)])
        changed, printed = evaluate(root, "changed", path)
    finally:
        benchmark.write_bytes(original)
    assert printed.count(EARLIER) == 1
    assert changed["benchmarks"]["agedb_30"] == first["benchmarks"]["agedb_30"]
    assert changed["benchmarks"]["cfp_fp"] != first["benchmarks"]["cfp_fp"]


@pytest.mark.slow
def test_several_checkpoints_and_an_export_give_a_row_each(root: Path, tmp_path: Path) -> None:
    network = MiniFaceNet(embedding_size=WIDTH, size=SIZE).eval()
    load_weights(network, checkpoint(root, "second"))
    export_onnx(network, SIZE, tmp_path / "model.onnx")
    paths = [checkpoint(root, "first"), checkpoint(root, "second"), str(tmp_path / "model.onnx")]
    exported, printed = evaluate(root, "several", f"ckpt_path=[{','.join(paths)}]", "logger=wandb")
    folder = root / "runs/evaluations/several"
    first, second = (json.loads((folder / f"results_{run}_last.json").read_text()) for run in ("first", "second"))
    assert "first/last" in printed
    assert first["benchmarks"] != second["benchmarks"]
    for name, metrics in second["benchmarks"].items():
        assert exported["benchmarks"][name] == pytest.approx(metrics, abs=1e-4, nan_ok=True)
    assert (folder / "report/index.html").read_text().count("second/last") > 1
    assert list(folder.glob("wandb/offline-run-*/files/media/images/report/*.png"))
    assert list(folder.glob("wandb/offline-run-*/files/media/table/report/*.json"))


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(root: Path) -> None:
    arguments = (f"ckpt_path={checkpoint(root, 'second')}", "benchmark=[agedb_30,ijbc]", "--no-cache")
    one, _ = evaluate(root, "one", *arguments)
    two, _ = evaluate(root, "two", *arguments, "trainer.devices=2", "datamodule.batch_size=7")
    for name, metrics in one["benchmarks"].items():
        assert two["benchmarks"][name] == pytest.approx(metrics, abs=1e-5, nan_ok=True)


@pytest.mark.slow
def test_files_of_embeddings_give_the_numbers_of_the_network(root: Path, tmp_path: Path) -> None:
    results, _ = evaluate(root, "network", f"ckpt_path={checkpoint(root, 'first')}", "benchmark=[agedb_30]")
    network = MiniFaceNet(embedding_size=WIDTH, size=SIZE).eval()
    load_weights(network, checkpoint(root, "first"))
    pairs = read_bin(root / "data/benchmarks/agedb_30.bin")
    images = to_float(torch.stack([image.load(SIZE) for image in pairs.images]))
    with torch.no_grad():
        np.save(tmp_path / "agedb_30.npy", network(images).numpy())
        np.save(tmp_path / "agedb_30_flipped.npy", network(images.flip(-1)).numpy())
    arguments = ("experiment=embeddings", f"embeddings={tmp_path}", "benchmark=[agedb_30]")
    from_file, _ = evaluate(root, "files", *arguments, common=())
    assert from_file["benchmarks"]["agedb_30"] == pytest.approx(results["benchmarks"]["agedb_30"], abs=1e-6)
    for name in ("agedb_30", "agedb_30_flipped"):  # codes that tell nothing but the sign of every value
        np.save(tmp_path / f"{name}.npy", (np.load(tmp_path / f"{name}.npy") > 0).astype(np.uint8))
    codes, _ = evaluate(root, "codes", *arguments, "alphabet=2", common=())
    assert abs(codes["benchmarks"]["agedb_30"]["eer"] - from_file["benchmarks"]["agedb_30"]["eer"]) < 0.15
    assert "embedding_norm" not in codes["benchmarks"]["agedb_30"]


@pytest.mark.slow
def test_missing_files_are_named_before_any_work(root: Path) -> None:
    _, message = evaluate(root, "missing", "benchmark=[agedb_30,calfw]", status=1)
    assert "calfw.bin" in message
    assert "docs/benchmarks.md" in message
    _, message = evaluate(root, "absent", f"ckpt_path=[{checkpoint(root, 'first')},absent.ckpt]", status=1)
    assert "absent.ckpt" in message
    assert not (root / "runs/evaluations/absent").exists()
    _, message = evaluate(root, "size", f"ckpt_path={checkpoint(root, 'first')}", "datamodule.size=64",
                          f"model.backbone.size={SIZE}", status=1)  # fmt: skip
    assert "set datamodule.size=32" in message
    _, message = evaluate(root, "architecture", f"ckpt_path={checkpoint(root, 'first')}",
                          "model/backbone=iresnet18", status=1)  # fmt: skip
    assert "does not fit the network" in message
