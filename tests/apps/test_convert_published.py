"""`privface convert` of a published file, as a user types it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support_arcbifacegan import TINY, filled, normal
from support_commands import run_command
from support_published import TINY_DISCRIMINATOR, TINY_GENERATOR, Module, write_published

from src.apps import convert
from src.apps.generate.generator_file import load_generator
from src.errors import UserError
from src.models.gan_transfer import transfer_weights
from src.models.networks.stylegan2 import Discriminator, Generator
from src.models.networks.stylegan2.network_files import load_network

LICENCE = "NVIDIA Source Code License: for research or evaluation only, not for commercial use"
FILES = ["README.md", "model.json", "model.safetensors"]


def generator(c_dim: int = 16) -> Generator:
    return filled(Generator(**TINY, z_dim=32, w_dim=32, c_dim=c_dim, mapping_layers=2)).eval()


def published(folder: Path) -> Path:
    source = f"open({str(folder / 'ran')!r}, 'w')"
    made = Module(generator(), "Generator", TINY_GENERATOR, source)
    judge = Module(filled(Discriminator(**TINY, c_dim=16)), "Discriminator", TINY_DISCRIMINATOR, source)
    path = folder / "network-snapshot-001042.pkl"
    return write_published(
        path, {"training_set_kwargs": {}, "G": made, "D": judge, "G_ema": made, "augment_pipe": None}
    )


def privface(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("privface", "convert", *arguments)


@torch.no_grad()
def test_as_typed(tmp_path: Path) -> None:
    path, out = published(tmp_path), tmp_path / "deep" / "out"
    result = privface(f"ckpt={path}", f"out={out}")
    assert (result.returncode, result.stderr) == (0, "")
    assert LICENCE in result.stdout
    for text in ("* average: G_ema, 32 px, conditions of 16, ", "* generator: G, ", "* discriminator: D, ", *FILES):
        assert text in result.stdout
    assert sorted(file.name for file in out.iterdir()) == FILES
    assert LICENCE in (out / "README.md").read_text()
    facts = json.loads((out / "model.json").read_text())
    assert facts["source"] == {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert LICENCE in facts["licence"]
    assert list(facts["networks"]) == ["average", "generator", "discriminator"]
    assert facts["networks"]["average"]["parameters"] == 72_103
    weights = load_file(out / "model.safetensors")
    for key, value in generator().state_dict().items():
        assert torch.equal(weights[f"average.{key}"], value)
    assert "average.synthesis.b4.toseg.weight" in weights
    inputs = normal(1, [2, 32]), normal(2, [2, 16])
    for found, expected in zip(
        load_network(out)(*inputs, noise_mode="none"), generator()(*inputs, noise_mode="none"), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "ran").exists()


def test_training_and_generation_start_from_it(tmp_path: Path) -> None:
    convert.run(published(tmp_path), tmp_path / "out", tolerance=1e-4)
    assert load_generator(tmp_path / "out").c_dim == 16
    networks = {"generator": Generator(**TINY, z_dim=32, w_dim=32, c_dim=16, mapping_layers=2)}
    transfer_weights(networks, tmp_path / "out" / "model.safetensors")
    expected = generator().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in networks["generator"].state_dict().items())


def test_forged_file_as_typed(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.system, (f"touch {tmp_path / 'owned'}",)

    path = write_published(tmp_path / "forged.pkl", {"G_ema": Call()})
    result = privface(f"ckpt={path}", f"out={tmp_path / 'out'}")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "which is not allowed" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["forged.pkl"]


@pytest.mark.parametrize("networks", [["G_ema"], "G_ema"])
def test_some_networks(networks: list[str] | str, tmp_path: Path) -> None:
    convert.run(published(tmp_path), tmp_path / "out", tolerance=1e-4, networks=networks)
    assert {name.partition(".")[0] for name in load_file(tmp_path / "out/model.safetensors")} == {"average"}
    with pytest.raises(UserError, match="expected a network generator, found average"):
        load_network(tmp_path / "out", "generator")


def test_networks_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"networks: expected some of G_ema, G, D, which .*\.pkl has, found D_NIR"):
        convert.run(published(tmp_path), tmp_path / "out", tolerance=1e-4, networks=["G_ema", "D_NIR"])
    with pytest.raises(UserError, match=r"networks is for \.pkl files; last\.ckpt is none"):
        convert.run("last.ckpt", tmp_path / "out", tolerance=1e-4, networks=["G_ema"])
    assert not (tmp_path / "out").exists()


def test_new_near_infrared_heads_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = generator(c_dim=0)
    for block in (4, 8, 16, 32):
        del network.get_submodule(f"synthesis.b{block}").toseg
    module = Module(network, "Generator", {**TINY_GENERATOR, "c_dim": 0})
    path = write_published(tmp_path / "ffhq.pkl", {"G_ema": module})
    convert.run(path, tmp_path / "out", tolerance=1e-4)
    printed = capsys.readouterr().out
    assert "no condition" in printed
    assert "16 tensors of the near-infrared heads (toseg) are not in the file and newly drawn" in printed
    facts = json.loads((tmp_path / "out/model.json").read_text())["networks"]["average"]
    assert len(facts["initialised"]) == 16
    assert load_network(tmp_path / "out")(torch.zeros(1, 32))[1].shape == (1, 1, 32, 32)
