"""Published files: read strictly and safely, and given back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.password_transformer import (
    AlignedRecogniser,
    Discriminators,
    PasswordPredictor,
    PasswordTransformer,
    SphereFace20,
)
from src.models.networks.password_transformer.published import (
    published_recogniser,
    read_magnitude,
    read_published,
    read_sphere20,
    transformer_arguments,
)


@pytest.fixture(scope="module")
def recogniser() -> dict[str, Tensor]:
    """One of the published file's names, in which most weights are views of one value."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in SphereFace20().state_dict().items()}
    shapes["fc6.weight"] = torch.Size((512, 30))
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape[:1], generator=generator).view(-1, *[1] * (len(shape) - 1)).expand(shape)
            for name, shape in shapes.items()}  # fmt: skip


def state(network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()}


def write(folder: Path, recogniser: dict[str, Tensor], prefix: str = "", **changes: Any) -> Path:
    """A checkpoint laid out as the published ones."""
    torch.manual_seed(0)
    transformer = PasswordTransformer(channels=4, blocks=2)
    optimizer = torch.optim.Adam(transformer.parameters())
    content = {
        "epoch": 3,
        "iter": 77,
        "state_dict_G": state(transformer, prefix),
        "state_dict_D": state(Discriminators(channels=4), prefix),
        "state_dict_Q": state(PasswordPredictor(channels=4), prefix),
        "state_dict_FR": {f"{prefix}{name}": value for name, value in recogniser.items()},
        "optimizer_G": optimizer.state_dict(),
        "optimizer_D": optimizer.state_dict(),
    }
    torch.save(
        {name: value for name, value in (content | changes).items() if value is not None}, folder / "checkpoint.pth.tar"
    )
    return folder / "checkpoint.pth.tar"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_round_trip(tmp_path: Path, recogniser: dict[str, Tensor], prefix: str) -> None:
    path = write(tmp_path, recogniser, prefix)
    found = read_published(path, magnitude=0.25)
    transformer = PasswordTransformer(**found.arguments)
    assert (transformer.magnitude, transformer.length) == (0.25, 16)
    official = torch.load(path, weights_only=True)
    for network, weights, key in (
        (transformer, found.transformer, "state_dict_G"),
        (Discriminators(channels=4), found.discriminators, "state_dict_D"),
        (PasswordPredictor(channels=4), found.predictor, "state_dict_Q"),
    ):
        network.load_state_dict(weights)
        back = state(network, prefix)
        assert back.keys() == official[key].keys()
        assert all(torch.equal(value, back[name]) for name, value in official[key].items())
    aligned = AlignedRecogniser(SphereFace20(), "normalized")
    aligned.load_state_dict(found.recogniser)
    back = published_recogniser(aligned.backbone.state_dict(), found.classifier)
    assert back.keys() == recogniser.keys()
    assert all(torch.equal(value, back[name]) for name, value in recogniser.items())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", {"magnitude": 1.0}),
        ("half", {"magnitude": 0.5}),
        ("one_fourth", {"magnitude": 0.25}),
        ("false", {"zero_one": True}),
        ("null", {"zero_one": True}),
    ],
)
def test_magnitude_beside_the_file(tmp_path: Path, written: str, expected: dict[str, Any]) -> None:
    (tmp_path / "main.yaml").write_text(f"passwd_length: 16\nuse_minus_one: {written}\n")
    (tmp_path / "other.yaml").write_text("batch_size: 48\n")
    assert read_magnitude(tmp_path / "checkpoint.pth.tar") == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"found none; give password\.magnitude, which is 0\.5 for the published main model and 0\.25"),
        ({"a.yaml": "lr: 1"}, "found none"),
        ({"a.yaml": "use_minus_one: half", "b.yml": "use_minus_one: one_fourth"}, r"a\.yaml: half, b\.yml: one_fourth"),
        ({"a.yaml": "use_minus_one: third"}, r"expected one of true, half, one_fourth, false, none, found 'third'"),
        ({"a.yaml": "use_minus_one: [1]"}, r"found \[1\]"),
        ({"a.yaml": "use_minus_one: 1"}, r"found 1"),
        ({"a.yaml": "a: ["}, r"a\.yaml is damaged"),
        ({"a.yaml": "a: !!python/object/apply:os.system [false]"}, r"a\.yaml is damaged"),
    ],
)
def test_a_magnitude_is_never_guessed(
    tmp_path: Path, recogniser: dict[str, Tensor], files: dict[str, str], message: str
) -> None:
    path = write(tmp_path, recogniser)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_published(path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length": 32, "channels": 4, "blocks": 3},
        {"upsampling": "transposed", "blocks": 1},
        {"downsamplings": 3, "blocks": 2, "upsampling": "transposed"},
        {"downsamplings": 4, "dropout": True},
        {"padding": "zero"},
        {"padding": "zero", "dropout": True, "norm": "none"},
    ],
)
def test_arguments_are_told_by_the_weights(options: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = PasswordTransformer(**{"channels": 8, **options})
        found = transformer_arguments(network.state_dict(), "file")
        again = PasswordTransformer(**found)
    assert {name: found[name] for name in options} == options
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }


def test_other_files(tmp_path: Path, recogniser: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="no weights file at"):
        read_published(tmp_path / "missing.pth.tar")
    path = write(tmp_path, recogniser, state_dict_Q=None)
    with pytest.raises(UserError, match="found no weights as state_dict_Q"):
        read_published(path, magnitude=0.5)
    path = write(tmp_path, recogniser, state_dict_D={"FE.0.weight": 3}, state_dict_G=[1])
    with pytest.raises(UserError, match="found no weights as state_dict_G, state_dict_D"):
        read_published(path, magnitude=0.5)
    path = write(tmp_path, recogniser, state_dict_G={"conv.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="holds no password transformer but an unknown architecture"):
        read_published(path, magnitude=0.5)
    path = write(tmp_path, recogniser, epoch=Path("x"))
    with pytest.raises(UserError, match="not a weights file that can be read safely"):
        read_published(path, magnitude=0.5)


def test_sphere20_file(tmp_path: Path, recogniser: dict[str, Tensor]) -> None:
    torch.save(recogniser, tmp_path / "sphere20a.pth")
    weights, classifier = read_sphere20(tmp_path / "sphere20a.pth")
    SphereFace20().load_state_dict(weights)
    assert classifier.shape == (30, 512)
    assert torch.equal(classifier.T, recogniser["fc6.weight"])
    torch.save({name: value for name, value in recogniser.items() if name != "fc5.bias"}, tmp_path / "less.pth")
    with pytest.raises(UserError, match=r"less\.pth: expected a SphereFace-20 of 63 entries"):
        read_sphere20(tmp_path / "less.pth")
    with pytest.raises(UserError, match="unpack the archive first"):
        read_sphere20(tmp_path / "sphere20a_20171020.7z")
