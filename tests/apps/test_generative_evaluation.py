"""Generators as a user evaluates them, on few procedural faces."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support_checkpoint import write_checkpoint
from support_commands import run_command, succeed, workspace
from support_gan import pairs

from src.apps.generative_evaluation import _check_fits
from src.errors import UserError
from src.models.networks.mini import MiniFaceNet
from src.models.networks.stylegan2 import Generator
from src.models.networks.stylegan2.network_files import save_networks

pytestmark = pytest.mark.slow

DATA = ("experiment=arcbifacegan_procfaces", "faces=ci32", "datamodule.num_workers=0", "name=tiny")
METRICS = (
    "callbacks.metrics.images=24", "callbacks.metrics.identities=4", "callbacks.metrics.samples=3",
    "callbacks.metrics.path_samples=8", "+extractor@callbacks.metrics.extractors.demo=recogniser",
)  # fmt: skip
NETWORKS = (
    "model.generator.channel_base=256", "model.generator.channel_max=8", "model.discriminator.channel_base=256",
    "model.nir_discriminator.channel_base=256",
)  # fmt: skip
TRAINING = (
    "datamodule.batch_size=4", "model.kimg=0.016", "trainer.log_every_n_steps=1", "callbacks.metrics.every_kimg=0.008",
    "monitor=Metrics/fid@demo",
)  # fmt: skip
OF_PEOPLE = {"eer", "auc", "genuine_mean", "genuine_std", "impostor_mean", "impostor_std", "fdr", "decidability"}
EXPECTED = {f"{name}@demo" for name in (*OF_PEOPLE, "nearest_training")}
EXPECTED |= {f"{name}{suffix}@demo" for name in ("fid", "kid", "precision", "recall", "ppl") for suffix in ("", "_NIR")}
EXPECTED |= {f"edge_agreement{kind}{of}" for kind in ("", "_shuffled") for of in ("", "_real")}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a recogniser and a finished run."""
    folder = workspace(tmp_path_factory)
    torch.manual_seed(0)
    backbone = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 8, "size": 16}
    write_checkpoint(folder / "recogniser.ckpt", MiniFaceNet(8, 16), backbone, 16)
    succeed(folder, "train.py", *DATA, *METRICS, recogniser(folder), *NETWORKS, *TRAINING)
    return folder


def recogniser(root: Path) -> str:
    return f"callbacks.metrics.extractors.demo.path={root / 'recogniser.ckpt'}"


def evaluation(root: Path, *arguments: str) -> Path:
    """Folder of an evaluation."""
    printed = succeed(root, "eval.py", *DATA, *METRICS, recogniser(root), *arguments)
    page = next(line.removeprefix("Report: ") for line in printed.splitlines() if line.startswith("Report: "))
    return Path(page).parents[1]


def metrics(file: Path) -> dict[str, float]:
    return json.loads(file.read_text())["benchmarks"]["generation"]


def test_a_training_measures_by_a_network_of_the_user(root: Path) -> None:
    folder = root / "runs" / "tiny"
    assert set(metrics(folder / "results.json")) == EXPECTED
    assert (folder / "figures" / "images_identities_last_demo.png").is_file()
    assert (folder / "figures" / "training_FID.png").is_file()
    with open(folder / "metrics.csv", newline="") as file:
        curve = [float(row["Metrics/fid@demo"]) for row in csv.DictReader(file) if row["Metrics/fid@demo"]]
    assert len(curve) == 2
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["progress"]["images"] == 8 * (1 + curve.index(min(curve)))


def test_a_checkpoint_gives_what_its_training_measured(root: Path) -> None:
    folder = evaluation(root, "ckpt_path=last")
    expected = metrics(root / "runs" / "tiny" / "results.json")
    assert metrics(folder / "results.json") == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for name in ("figures/images_training.png", "figures/images_generated_last.png", "report/index.html"):
        assert (folder / name).is_file(), name
    assert "FID" in (folder / "report" / "index.html").read_text()


def test_several_checkpoints_are_rows_of_one_table(root: Path) -> None:
    folder = evaluation(root, "ckpt_path=[best,last]")
    assert {"results.json", "results_best.json"} <= {path.name for path in folder.iterdir()}
    assert set(metrics(folder / "results_best.json")) == EXPECTED
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"images_identities_best_demo.png", "images_identities_last_demo.png"} <= names


def test_an_untrained_generator(root: Path) -> None:
    folder = evaluation(root, *NETWORKS)
    assert json.loads((folder / "results.json").read_text())["label"] == "untrained"
    assert set(metrics(folder / "results.json")) == EXPECTED


def test_a_converted_generator(root: Path) -> None:
    arguments: dict[str, Any] = {
        "resolution": 32,
        "z_dim": 8,
        "w_dim": 8,
        "c_dim": 32,
        "channel_base": 256,
        "channel_max": 8,
    }
    (root / "converted").mkdir()
    network = Generator(**arguments)
    weights = {"average": {name: value.contiguous() for name, value in network.state_dict().items()}}
    save_networks(root / "converted", weights, {"average": {"class": "Generator", "arguments": arguments}})
    folder = evaluation(root, f"ckpt_path={root / 'converted'}")
    assert json.loads((folder / "results.json").read_text())["label"] == "converted"


@pytest.mark.parametrize(
    ("script", "overrides", "expected"),
    [
        ("eval.py", ["ckpt_path=best", "datamodule.size=64"], "best: the generator makes images of 32 x 32 pixels"),
        ("eval.py", ["ckpt_path=last", "~callbacks.metrics"], "leave out ~callbacks.metrics"),
        ("eval.py", ["ckpt_path=last", "callbacks.metrics.extractors.demo.path=none.ckpt"], "no weights file at none"),
        ("train.py", ["monitor=Metrics/fid@other", "name=wrong"], "fid@other: expected null or a metric"),
    ],
)
def test_mistakes_end_with_a_message(root: Path, script: str, overrides: list[str], expected: str) -> None:
    result = run_command(script, *DATA, *METRICS, recogniser(root), *overrides, root=root)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert not (root / "runs" / "wrong" / "checkpoints").exists()


def test_generators_of_other_data() -> None:
    arguments: dict[str, Any] = {"channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8}
    data = pairs()
    _check_fits("fits", Generator(16, c_dim=8, **arguments), data)
    _check_fits("fits", Generator(16, c_dim=0, **arguments), data)
    with pytest.raises(UserError, match=r"last: the generator makes images of 32 x 32 pixels, datamodule\.size is 16"):
        _check_fits("last", Generator(32, c_dim=8, **arguments), data)
    with pytest.raises(UserError, match=r"last: the generator takes identity features of 9 numbers, .* have 8"):
        _check_fits("last", Generator(16, c_dim=9, **arguments), data)
    data.fields = ("image", "nir")
    with pytest.raises(UserError, match=r"datamodule\.fields=\['image', 'nir'\] has none; add feature"):
        _check_fits("last", Generator(16, c_dim=8, **arguments), data)


def test_a_network_without_its_file(root: Path) -> None:
    result = run_command("eval.py", *DATA, *METRICS, "ckpt_path=last", root=root)
    assert result.returncode == 1
    assert "no value for callbacks.metrics.extractors.demo.path" in result.stderr
