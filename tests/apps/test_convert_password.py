"""`privface convert` of password transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support_anonymize import write_checkpoint, write_image

from src.apps import convert
from src.apps.anonymize.network_file import load_transformer
from src.errors import UserError
from src.models.networks.password_transformer import (
    Discriminators,
    PasswordPredictor,
    PasswordTransformer,
    SphereFace20,
)


def recogniser() -> dict[str, torch.Tensor]:
    """Under the published names."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in SphereFace20().state_dict().items()}
    shapes["fc6.weight"] = torch.Size((512, 5))
    # Views of one value: the file is small.
    return {name: torch.full((), 0.01).expand(shape) for name, shape in shapes.items()}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    content = {
        "epoch": 3,
        "iter": 77,
        "state_dict_G": PasswordTransformer(channels=4, blocks=1).state_dict(),
        "state_dict_D": Discriminators(channels=4).state_dict(),
        "state_dict_Q": PasswordPredictor(channels=4).state_dict(),
        "state_dict_FR": recogniser(),
    }
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    return tmp_path / "checkpoint.pth.tar"


def test_a_published_file_is_converted_and_calibrated(published: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not tell the magnitude"):
        convert.run(published, tmp_path / "out", tolerance=1)
    convert.run(published, tmp_path / "out", tolerance=1, magnitude=0.25)
    assert not load_transformer(tmp_path / "out").is_calibrated
    assert "cannot anonymise single faces" in (tmp_path / "out" / "README.md").read_text()
    for number in range(128):
        write_image(tmp_path / "faces" / f"{number}.png", number, height=16, width=16)
    convert.run(published, tmp_path / "ready", tolerance=1, magnitude=0.25, calibrate=tmp_path / "faces")
    trained = load_transformer(tmp_path / "ready")
    assert trained.is_calibrated
    assert (trained.size, trained.network.magnitude) == (128, 0.25)
    assert trained.fingerprint() != load_transformer(tmp_path / "out").fingerprint()
    face = torch.rand(1, 3, 32, 32)
    zeros, ones = torch.zeros(1, 16), torch.ones(1, 16)
    # Under the statistics of one image its password would cancel.
    assert (trained.network(face, zeros) - trained.network(face, ones)).abs().max() > 1e-3
    names = {name.partition(".")[0] for name in load_file(tmp_path / "ready" / "model.safetensors")}
    assert names == {"transformer", "bn_stats", "discriminators", "predictor", "recogniser", "head"}
    (tmp_path / "faces" / "0.png").unlink()
    with pytest.raises(UserError, match="at least 128 images of different faces, found 127"):
        convert.run(published, tmp_path / "no", tolerance=1, magnitude=0.25, calibrate=tmp_path / "faces")
    assert not (tmp_path / "no").exists()


def test_the_published_recogniser_is_converted(tmp_path: Path) -> None:
    torch.save(recogniser(), tmp_path / "sphere20a_20171020.pth")
    convert.run(tmp_path / "sphere20a_20171020.pth", tmp_path / "out", tolerance=1)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found["head.weight"].shape == (5, 512)
    assert "recogniser.backbone.conv1_1.weight" in found


def test_a_checkpoint_of_a_training_is_converted(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "last.ckpt")
    convert.run(path, tmp_path / "out", tolerance=1)
    assert load_transformer(tmp_path / "out").fingerprint() == load_transformer(path).fingerprint()
    for number in range(128):
        write_image(tmp_path / "faces" / f"{number}.png", number, height=16, width=16)
    with pytest.raises(UserError, match="no batch norms"):
        convert.run(path, tmp_path / "no", tolerance=1, calibrate=tmp_path / "faces")
