"""The generator in a checkpoint, and in a folder of converted networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support_arcbifacegan import filled
from support_generate import ARGUMENTS, write_inputs

from src.apps.generate.generator_file import load_generator
from src.errors import UserError
from src.models.networks.stylegan2 import Generator
from src.models.networks.stylegan2.network_files import save_networks


def test_the_averaged_generator_is_taken(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    expected = filled(Generator(**ARGUMENTS)).state_dict()
    found = load_generator(tmp_path / "generator.ckpt")
    assert not found.training
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected[name]) or name.endswith("resample_filter")


def test_a_folder_of_converted_networks(tmp_path: Path) -> None:
    weights = {name: value.contiguous() for name, value in filled(Generator(**ARGUMENTS)).state_dict().items()}
    save_networks(tmp_path, {"average": weights}, {"average": {"class": "Generator", "arguments": ARGUMENTS}})
    found = load_generator(tmp_path).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_a_checkpoint_whose_generator_cannot_be_built(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    content = torch.load(tmp_path / "generator.ckpt", weights_only=True)
    for changes, message in (
        ({"resolution": 33}, "its generator cannot be built: resolution"),
        ({"depth": 3}, "expected a checkpoint of a training that makes images"),
        ({"channel_max": 16}, "does not fit the network"),
    ):
        config = {**content["hyper_parameters"]["model"]["generator"], **changes}
        changed = {**content, "hyper_parameters": {"model": {"generator": config}}}
        torch.save(changed, tmp_path / "changed.ckpt")
        with pytest.raises(UserError, match=message):
            load_generator(tmp_path / "changed.ckpt")
