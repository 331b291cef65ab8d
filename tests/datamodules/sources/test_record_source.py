from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from src.datamodules.decode import decode
from src.datamodules.record_writer import Layout, RecordWriter
from src.datamodules.sources.record_source import RecordSource
from src.errors import UserError

MakeImage = Callable[..., bytes]
CONFIG = Path(__file__).parents[3] / "conf" / "source" / "record.yaml"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path: Path, make_image: MakeImage) -> Callable[..., Path]:
    def write(labels: Sequence[int] = (0, 0, 1, 2), layout: Layout = "insightface", name: str = "set") -> Path:
        with RecordWriter(tmp_path / name, layout, resolution=16) as writer:
            for i, label in enumerate(labels):
                writer.add(make_image(i), label)
        return tmp_path / name

    return write


@pytest.mark.parametrize("layout", ["insightface", "im2rec"])
def test_rows(write: Callable[..., Path], make_image: MakeImage, layout: Layout) -> None:
    source = RecordSource(write(layout=layout))
    assert [source.content(row) for row in range(len(source))] == [make_image(row) for row in range(4)]
    assert source.labels.tolist() == [0, 0, 1, 2]
    assert source.classes == ["0", "1", "2"]
    assert source.attributes.tolist() == [-1] * 4
    assert source.modalities == ("image",)
    first = layout == "insightface"
    assert [source.key(row) for row in range(4)] == [f"{row + first:09d}" for row in range(4)]
    assert source.resolution == (16 if first else None)
    assert decode(source.content(3)).shape == (16, 16, 3)
    assert source.metadata(2) == {"subject": "1", "label": 1, "attribute": -1, "source": f"{2 + first:09d}"}


def test_folder_and_file_are_the_same_source(write: Callable[..., Path]) -> None:
    root = write()
    assert RecordSource(root).fingerprint == RecordSource(str(root / "train.rec")).fingerprint
    with pytest.raises(UserError, match=r"other/train\.rec: not found|other: not found"):
        RecordSource(root / "other")
    (root / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty/train\.rec: not found"):
        RecordSource(root / "empty")


def test_the_fingerprint_tells_rows_not_times(write: Callable[..., Path]) -> None:
    root = write()
    before = RecordSource(root).fingerprint
    os.utime(root / "train.rec", (1, 1))
    assert RecordSource(root).fingerprint == before
    others = [RecordSource(write(labels, name=str(labels))) for labels in [(0, 0, 1), (0, 1, 1, 2), (0, 0, 1, 3)]]
    assert len({before, *(source.fingerprint for source in others)}) == 4


def test_a_class_number_without_images(write: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    source = RecordSource(write([1, 1, 4]))
    assert source.labels.tolist() == [1, 1, 4]
    assert source.classes == ["0", "1", "2", "3", "4"]
    assert "3 of 5 class numbers have no image" in caplog.text


@pytest.mark.parametrize(
    ("text", "resolution", "warning"),
    [
        ("3,112,112", 112, ""),
        ("3,112,112\n4\n", 112, ""),
        ("3, 128, 96\n", None, ""),
        ("10,16,16\n", 16, "property: states 10 classes, the labels reach 3"),
    ],
)
def test_property(
    write: Callable[..., Path], text: str, resolution: int | None, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = write()
    (root / "property").write_text(text)
    source = RecordSource(root)
    assert source.resolution == resolution
    assert len(source.classes) == 3
    assert warning in caplog.text
    assert bool(caplog.text) == bool(warning)


@pytest.mark.parametrize("text", ["", "3,112", "three,112,112"])
def test_a_malformed_property_is_named(write: Callable[..., Path], text: str) -> None:
    root = write()
    (root / "property").write_text(text)
    with pytest.raises(UserError, match="property: expected a first line `classes,height,width`"):
        RecordSource(root)


def test_a_source_can_be_pickled(write: Callable[..., Path], make_image: MakeImage) -> None:
    source = pickle.loads(pickle.dumps(RecordSource(write())))
    assert source.content(3) == make_image(3)


def test_config(write: Callable[..., Path]) -> None:
    config = OmegaConf.load(CONFIG)
    config.path = str(write())
    assert len(hydra.utils.instantiate(config)()) == 4
