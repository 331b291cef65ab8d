"""The gender-angular method as a user types it, on faces small enough for a test."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from support_commands import run_command, succeed, workspace

from src.apps.checkpoint import TrainedCheckpoint
from src.models.networks.privacy_layer import ProtectedBackbone

FACES = ("faces=gender_ci", "datamodule.num_workers=0", "trainer.log_every_n_steps=1", "bootstrap=20")
BACKBONE = ("experiment=arcface", *FACES, "benchmark=gender", "monitor=val/gender/accuracy", "evaluate_untrained=false")
METHOD = ("experiment=gender_angular", *FACES, "datamodule.batch_size=64", "callbacks.reference.every_n_epochs=20")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a trained backbone, ``runs/demo``, and the method behind it, ``runs/gender_angular``."""
    folder = workspace(tmp_path_factory)
    succeed(folder, "train.py", *BACKBONE, "name=demo", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=4")
    printed = succeed(folder, "train.py", *METHOD, "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=20")
    assert "Recognition and privacy" in printed
    return folder


def read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(path.read_text())


def test_gender_is_harder_to_tell_and_the_rows_say_so(root: Path) -> None:
    folder = root / "runs" / "gender_angular"
    before, after = read(folder / "results_backbone.json"), read(folder / "results.json")
    for name in ("gender", "gender_shifted"):
        assert "pic" not in before["privacy"][name]
        privacy = after["privacy"][name]
        assert privacy["bacc"] < before["privacy"][name]["bacc"] - 0.05
        assert privacy["suppression_rate"] > 0.2
        other = {"gender": "gender_shifted", "gender_shifted": "gender"}[name]
        assert {"bacc_naive", f"bacc_cross@{other}", "leakage", "fmr_gap@1e-2"} <= set(privacy)
    assert after["curves"]["gender"]["projection"] is not None  # type: ignore[index]
    for figure in ("tradeoff_gender.png", "projection_gender.png"):
        assert (folder / "figures" / figure).is_file()


def test_checkpoints_hold_the_layer_and_name_the_backbone(root: Path) -> None:
    folder = root / "runs" / "gender_angular"
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any(name.startswith("backbone.backbone.") for name in content["state_dict"])
    assert Path(content["frozen_backbone"]["path"]).name == "last.ckpt"
    assert sorted(path.name for path in (folder / "reference").iterdir()) == ["180ftn_layers.pth", "180header.pth"]


def test_export_holds_the_backbone_too(root: Path) -> None:
    path = root / "runs" / "gender_angular" / "checkpoints" / "last.ckpt"
    network = TrainedCheckpoint.read(path).build_backbone()
    assert isinstance(network, ProtectedBackbone)
    assert not network.training
    layer = torch.load(path, weights_only=True)["state_dict"]
    assert torch.equal(network.layer.state_dict()["proj.0.weight"], layer["backbone.layer.proj.0.weight"])
    demo = torch.load(root / "runs" / "demo" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, demo[f"backbone.{name}"]), name


def test_evaluation_of_checkpoint_and_reference_file(root: Path) -> None:
    layer = root / "runs" / "gender_angular" / "reference" / "180ftn_layers.pth"
    checkpoints = f"ckpt_path=[last,{layer}]"
    succeed(root, "eval.py", *METHOD, checkpoints, "output=gender_csv", f"hydra.run.dir={root / 'eval'}")
    trained = read(root / "runs" / "gender_angular" / "results.json")
    last, reference = read(root / "eval" / "results_last.json"), read(root / "eval" / "results.json")
    for section in ("benchmarks", "privacy"):
        for metric, value in trained[section]["gender"].items():
            assert last[section]["gender"][metric] == pytest.approx(value, abs=1e-6), metric
            assert reference[section]["gender"][metric] == pytest.approx(value, abs=1e-6), metric
    with open(root / "eval" / "gender.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["Row"] for line in lines] == 2 * ["backbone"] + 2 * ["last"] + 2 * ["180ftn_layers"]
    assert lines[2]["Step"] == lines[4]["Step"] == "180"
    assert float(lines[2]["PIC"]) == pytest.approx(trained["privacy"]["gender"]["pic_folds"], abs=1e-6)


def test_missing_backbone_is_named_before_any_work(tmp_path: Path) -> None:
    result = run_command("train.py", *METHOD, root=tmp_path)
    assert result.returncode == 1
    assert "there is no file" in result.stderr
    assert "make demo" in result.stderr
    assert not (tmp_path / "data").exists()


def test_missing_set_is_named(root: Path) -> None:
    result = run_command("train.py", *METHOD, "name=other", "benchmark.gender.path=elsewhere.bin", root=root)
    assert result.returncode == 1
    assert "elsewhere.bin: cannot be read" in result.stderr


def test_two_processes_train_alike(root: Path) -> None:
    """Half the batch each, the angles over both: what one process computes, up to the order of the images."""
    devices = ("trainer.devices=2", "trainer.strategy=ddp", "datamodule.batch_size=32", "name=two", "benchmark=gender")
    succeed(root, "train.py", *METHOD, *devices, "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=20")
    one, two = (read(root / "runs" / name / "results.json") for name in ("gender_angular", "two"))
    assert two["privacy"]["gender"]["bacc"] == pytest.approx(one["privacy"]["gender"]["bacc"], abs=0.1)
    assert two["benchmarks"]["gender"]["eer"] == pytest.approx(one["benchmarks"]["gender"]["eer"], abs=0.05)
