"""The password transformer as a user trains it, on few procedural faces; and its presets."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from support_commands import run_command, succeed, workspace
from support_password import bits, image

from src.apps.overrides import CONF, check
from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.calibration import calibrate, has_batch_norms, load_calibration

FACES = (
    "faces=password64", "faces.name=password_tiny", "faces.identities=6", "faces.per_identity=4", "faces.benchmarks=[]",
)  # fmt: skip
TINY = (
    "experiment=password_transformer_procfaces", *FACES, "datamodule.batch_size=4", "datamodule.num_workers=0",
    "model.recogniser_file=null", "model.transformer.channels=4", "model.transformer.blocks=1",
    "model.discriminators.channels=4", "model.predictor.channels=4", "model.pool_size=6", "callbacks.grids.faces=2",
    "callbacks.grids.every_n_steps=2", "callbacks.last.every_n_train_steps=2", "trainer.log_every_n_steps=1",
)  # fmt: skip
LOGGED = {
    "D_FR_M", "D_FR_R", "D_FR_WR", "D_FR_real", "D_FR_fake", "D_GAN_M", "D_GAN_R", "D_GAN_WR", "D_GAN_real",
    "D_GAN_fake", "D", "G_GAN_M", "G_GAN_R", "G_GAN_WR", "G_GAN", "dis", "dis_acc", "G_FR_M", "G_FR_R", "G_FR_WR",
    "G_FR", "G_feat", "G_WR_feat", "G_feat_M_WR", "L1_M", "recon", "L1_WR", "G",
}  # fmt: skip
PRESETS = ("password_transformer", "password_transformer_quarter", "password_transformer_robust")
LIST = ("datamodule.source.root=here", "datamodule.source.list_file=list.txt")


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def transformer_of(config: DictConfig) -> PasswordTransformer:
    torch.manual_seed(0)
    return instantiate(config.model.transformer, channels=8, blocks=2)


@pytest.mark.parametrize("preset", [*PRESETS, "password_transformer_procfaces"])
@torch.no_grad()
def test_a_single_face_feels_its_password_in_every_preset(preset: str) -> None:
    """Batch norms take the password away from a single face; calibrated ones, and other norms, do not."""
    transformer = transformer_of(check("train", [f"experiment={preset}", *(LIST if preset in PRESETS else ())]))
    length = transformer.length
    passwords = torch.stack([torch.arange(length) % 2 == 0, torch.arange(length) % 3 == 0])
    images = image(4, 3, 16, 16).float()

    def difference() -> float:
        one, other = (transformer(images[:1], password[None]) for password in passwords)
        return float((one - other).abs().max())

    if has_batch_norms(transformer):
        assert difference() < 1e-4
        generator = torch.Generator().manual_seed(1)
        calibrate(transformer, [torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1 for _ in range(16)])
    assert difference() > 1e-3
    alone = transformer(images[:1], passwords[:1])
    beside = transformer(images, passwords[[0, 1, 1, 0]])[:1]
    torch.testing.assert_close(beside, alone, rtol=0, atol=1e-5)


def test_published_presets() -> None:
    main, quarter, robust = (
        OmegaConf.to_container(check("train", [f"experiment={preset}", *LIST]), resolve=False) for preset in PRESETS
    )
    assert main["password"] | {"magnitude": 0.25} == quarter["password"]
    assert main["optim"] | {"d_lr": 5e-5} == quarter["optim"]
    assert main["loss"] == quarter["loss"]
    assert (main["loss"]["weights"]["fr"]["total"], main["loss"]["weights"]["rec"]) == (2.0, 100.0)
    assert robust["model"]["transformer"]["norm"] == "group"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a finished run of eight steps, ``runs/whole``."""
    folder = workspace(tmp_path_factory)
    succeed(folder, "train.py", *TINY, "trainer.max_steps=8", "name=whole", "logger=tensorboard")
    return folder


@pytest.mark.slow
def test_a_run_writes_its_folder(root: Path) -> None:
    folder = root / "runs" / "whole"
    for name in ("checkpoints/last.ckpt", "visuals/epoch_000_step_000000.png", "visuals/epoch_000_step_000002.png",
                 "figures/images_anonymised.png", "report/index.html"):  # fmt: skip
        assert (folder / name).is_file(), name
    assert json.loads((folder / "results.json").read_text())["benchmarks"]["training"]["recon"] > 0
    with open(folder / "metrics.csv", newline="") as file:
        logged = {name for row in csv.DictReader(file) for name, value in row.items() if value}
    assert logged >= LOGGED
    checkpoint = load(folder / "checkpoints" / "last.ckpt")
    assert checkpoint["hyper_parameters"]["model"]["transformer"]["conditioning"] == "film"
    assert {name.split(".")[0] for name in checkpoint["state_dict"]} == {
        "transformer", "discriminators", "predictor", "recogniser", "head",
    }  # fmt: skip


@pytest.mark.slow
def test_killed_and_continued_gives_the_same_weights(root: Path) -> None:
    folder = root / "runs" / "killed"
    command = [sys.executable, str(CONF.parent / "train.py"), *TINY, "trainer.max_steps=8", "name=killed"]
    environment = {**os.environ, "PRIVFACE_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=CONF.parent, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not ((folder / "metrics.csv").exists() and len((folder / "metrics.csv").read_text().splitlines()) > 4):
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    succeed(root, "train.py", *TINY, "trainer.max_steps=8", "name=killed", "ckpt_path=last")
    expected, found = (load(root / f"runs/{name}/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "killed"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_batch_norms_are_calibrated_at_the_end(root: Path) -> None:
    batch = ("model.transformer.conditioning=planes", "model.transformer.norm=batch", "trainer.max_steps=1")
    succeed(root, "train.py", *TINY, *batch, "name=calibrated")
    checkpoint = load(root / "runs/calibrated/checkpoints/last.ckpt")
    transformer = PasswordTransformer(channels=4, blocks=1)
    weights = {name.removeprefix("transformer."): value for name, value in checkpoint["state_dict"].items()
               if name.startswith("transformer.")}  # fmt: skip
    transformer.load_state_dict(weights)
    load_calibration(transformer, checkpoint["bn_stats"])
    faces = image(1, 3, 64, 64).float()
    one, other = (transformer.eval()(faces, password) for password in bits(0xBEEF, 0x1234).split(1))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.slow
def test_another_training_starts_from_its_networks(root: Path) -> None:
    start = root / "runs/whole/checkpoints/last.ckpt"
    rates = ("optim.g_lr=0", "optim.q_lr=0", "optim.d_lr=0", "optim.fr_lr=0")
    succeed(root, "train.py", *TINY, *rates, "trainer.max_steps=1", "name=next", f"init_from={start}")
    before, after = load(start)["state_dict"], load(root / "runs/next/checkpoints/last.ckpt")["state_dict"]
    for name in ("transformer.model.1.weight", "predictor.FE.model.0.weight", "head.weight"):
        assert torch.equal(after[name], before[name])


@pytest.mark.slow
def test_two_processes(root: Path) -> None:
    devices = ("trainer.devices=2", "trainer.strategy=ddp_find_unused_parameters_true", "datamodule.batch_size=2")
    succeed(root, "train.py", *TINY, *devices, "trainer.max_steps=2", "name=two")
    found = load(root / "runs/two/checkpoints/last.ckpt")
    assert all(value.isfinite().all() for value in found["state_dict"].values())
    one, other = (pools["M"]["images"] for pools in found["pools"])
    assert not torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.gradient_clip_val=5.0", "trainer.gradient_clip_val=5.0: expected null"),
        ("datamodule.fields=[image,label]", "datamodule.fields: expected image, label, landmarks"),
        ("password.length=18", "expected a positive multiple of 4 bits, found 18"),
        ("model.recogniser_file=nowhere.ckpt", "model.recogniser_file=nowhere.ckpt: there is no such file"),
        ("monitor=reco", "monitor: expected D_FR_M, "),
    ],
)
def test_mistakes_end_with_a_message(root: Path, override: str, expected: str) -> None:
    result = run_command("train.py", *TINY, "trainer.max_steps=1", "name=wrong", override, root=root)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
