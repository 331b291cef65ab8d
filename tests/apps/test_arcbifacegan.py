"""ArcBiFaceGAN as a user trains it, on few procedural faces."""

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
from omegaconf import DictConfig
from support_commands import run_command, succeed, workspace

from src.apps.generator_settings import fill_from_preset
from src.apps.overrides import CONF, check
from src.errors import UserError

TINY = (
    "experiment=arcbifacegan_procfaces", "faces=ci32", "datamodule.batch_size=4", "datamodule.num_workers=0",
    "model.generator.channel_base=256", "model.generator.channel_max=8", "model.discriminator.channel_base=256",
    "model.nir_discriminator.channel_base=256", "trainer.log_every_n_steps=1", "callbacks.metrics.images=16",
)  # fmt: skip
SHORT = (*TINY, "model.kimg=0.04", "callbacks.last.every_n_train_steps=2")


def config(*overrides: str) -> DictConfig:
    found = check("train", list(overrides))
    fill_from_preset(found)
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a finished run, ``runs/whole``."""
    folder = workspace(tmp_path_factory)
    succeed(folder, "train.py", *SHORT, "name=whole", "logger=tensorboard")
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_writes_its_folder(root: Path) -> None:
    folder = root / "runs" / "whole"
    for name in ("checkpoints/last.ckpt", "samples/reals.png", "samples/fakes_init.png", "samples/fakes000000.png",
                 "figures/images_generated.png", "report/index.html"):  # fmt: skip
        assert (folder / name).is_file(), name
    assert list(folder.glob("tensorboard/events.out.*"))
    results = json.loads((folder / "results.json").read_text())
    assert "edge_agreement" in results["benchmarks"]["generation"]
    assert {"Loss/G/loss", "Loss/D/reg_NIR", "Metrics/edge_agreement", "Progress/kimg"} <= set(rows(folder)[0])


@pytest.mark.slow
def test_checkpoint_tells_how_the_networks_are_built(root: Path) -> None:
    checkpoint = torch.load(root / "runs/whole/checkpoints/last.ckpt", weights_only=True)
    model = checkpoint["hyper_parameters"]["model"]
    assert model["_target_"] == "src.models.arcbifacegan.ArcBiFaceGAN"
    assert model["generator"]["resolution"] == 32
    assert model["lr"] == 0.0025
    assert {name.split(".")[0] for name in checkpoint["state_dict"]} >= {"generator", "average", "discriminator"}
    assert checkpoint["progress"] == {"images": 40, "iterations": 10}


@pytest.mark.slow
def test_killed_and_continued_gives_the_same_weights(root: Path) -> None:
    folder = root / "runs" / "killed"
    environment = {**os.environ, "PRIVFACE_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(CONF.parent / "train.py"), *SHORT, "name=killed"]
    process = subprocess.Popen(command, cwd=CONF.parent, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ((folder / "metrics.csv").exists() and len(rows(folder)) > 3):
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    succeed(root, "train.py", *SHORT, "name=killed", "ckpt_path=last")
    expected, found = weights(root / "runs" / "whole"), weights(folder)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_two_processes(root: Path) -> None:
    devices = ("trainer.devices=2", "trainer.strategy=ddp", "datamodule.batch_size=2")
    succeed(root, "train.py", *SHORT, *devices, "name=two")
    found = torch.load(root / "runs/two/checkpoints/last.ckpt", weights_only=True)
    assert found["progress"] == {"images": 40, "iterations": 10}
    assert all(value.isfinite().all() for value in found["state_dict"].values())


@pytest.mark.slow
def test_another_training_starts_from_its_networks(root: Path) -> None:
    start = root / "runs/whole/checkpoints/last.ckpt"
    succeed(root, "train.py", *TINY, "model.kimg=0.004", "name=next", f"init_from={start}", "model.lr=1e-9")
    before, after = weights(root / "runs" / "whole"), weights(root / "runs" / "next")
    for name in ("generator.synthesis.b32.conv1.weight", "nir_discriminator.b32.conv0.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.gradient_clip_val=5.0", "trainer.gradient_clip_val=5.0: expected null"),
        ("model.preset=auto_128", "model.preset: expected auto, auto_512"),
        ("model.generator.c_dim=16", "model.generator.c_dim=16: expected 32"),
    ],
)
def test_mistakes_end_with_a_message(root: Path, override: str, expected: str) -> None:
    result = run_command("train.py", *TINY, "name=wrong", override, root=root)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


class TestPresets:
    DATA = ("experiment=arcbifacegan", "datamodule.source.root=somewhere")

    def values(self, *overrides: str) -> dict[str, Any]:
        found = config(*self.DATA, *overrides)
        return {
            "batch": found.datamodule.batch_size, "micro_batch": found.model.micro_batch,
            "gamma": found.model.objectives.r1_gamma, "average": found.model.averaging.kimg,
            "ramp": found.model.averaging.ramp, "ada": found.model.adaptation.kimg,
            "group": found.model.nir_discriminator.group_size,
        }  # fmt: skip

    def test_by_resolution_and_devices(self) -> None:
        expected = {"batch": 16, "micro_batch": 16, "average": 5, "ramp": 0.05, "ada": 500, "group": 4}
        assert self.values() == {**expected, "gamma": pytest.approx(0.8192)}
        expected |= {"average": 20, "batch": 8, "micro_batch": 8}
        assert self.values("trainer.devices=8") == {**expected, "gamma": pytest.approx(0.2048)}

    def test_batch_leaves_the_rest(self) -> None:
        """The published recipe: 12 images at 256 pixels on one device."""
        found = self.values("datamodule.batch_size=12")
        assert (found["batch"], found["micro_batch"], found["average"]) == (12, 12, 5)
        assert found["gamma"] == pytest.approx(0.8192)

    def test_fewer_devices_than_the_preset_was_made_for(self) -> None:
        found = self.values("model.preset=paper256", "trainer.devices=2")
        assert (found["batch"], found["micro_batch"], found["group"], found["ramp"]) == (32, 8, 8, None)
        with pytest.raises(UserError, match="batch of 64 images cannot be shared out among 3 devices"):
            self.values("model.preset=paper256", "trainer.devices=3")

    def test_transfer_adapts_faster_and_keeps_the_average(self) -> None:
        found = self.values("init_from=some.ckpt")
        assert (found["ada"], found["ramp"]) == (100, None)

    def test_published_near_infrared_discriminator(self) -> None:
        found = config(*self.DATA, "datamodule.size=512", "model.objectives.parity_quirks=true").model
        assert found.discriminator.channel_base == 32_768
        assert found.nir_discriminator.channel_base == 16_384
        assert (found.nir_discriminator.precision, found.nir_discriminator.conv_clamp) == ("fp16", 256)

    def test_what_is_set_stays(self) -> None:
        found = config(*self.DATA, "model.lr=0.001", "model.objectives.r1_gamma=3.0", "model.kimg=1.0").model
        assert (found.lr, found.objectives.r1_gamma, found.kimg) == (0.001, 3.0, 1.0)

    def test_weight_of_the_near_infrared_by_time(self) -> None:
        assert config(*self.DATA, "model.nir_weight={0:0.1,1042:0.5}").model.nir_weight == {0: 0.1, 1042: 0.5}
