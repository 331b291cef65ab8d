from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.datamodules.sources.bin_source import BinSource
from src.datamodules.verification_sets import write_bin
from src.errors import UserError

MakeImage = Callable[..., bytes]
CONFIG = Path(__file__).parents[3] / "conf" / "source" / "bin.yaml"


def _write(path: Path, names: str, same: Sequence[bool]) -> Path:
    write_bin(path, [name.encode() for name in names], same)
    return path


def test_rows(tmp_path: Path, make_image: MakeImage) -> None:
    images = [make_image(i) for i in range(6)]
    write_bin(tmp_path / "lfw.bin", images, [True, False, True])
    source = BinSource(tmp_path / "lfw.bin")
    assert [source.content(row) for row in range(len(source))] == images
    assert [source.key(row) for row in range(6)] == [f"{row:09d}" for row in range(6)]
    assert source.labels.tolist() == [0, 0, 1, 2, 3, 3]
    assert source.classes == ["0", "1", "2", "3"]
    assert source.metadata(3) == {
        "subject": "2", "label": 2, "attribute": -1, "source": "000000003", "pair": 1, "same": False,
    }  # fmt: skip
    assert source.metadata(4)["same"] is True
    assert source.resolution is None


def test_pairs_and_repeated_images_connect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # a-b and b-c are pairs, so a, b and c are one person; d and e are pairs of two; f occurs twice.
    source = BinSource(_write(tmp_path / "x.bin", "abdebcfafg", [True, False, True, False, False]))
    assert source.labels.tolist() == [0, 0, 1, 2, 0, 0, 3, 0, 3, 4]
    assert source.labels.dtype == np.int32
    assert caplog.text == ""


def test_contradictory_pairs_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = BinSource(_write(tmp_path / "x.bin", "abbcac", [True, True, False]))
    assert source.labels.tolist() == [0] * 6
    assert "1 pairs marked different are of one class by other pairs" in caplog.text


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"), st.booleans()), max_size=12))
def test_labels_are_components(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str, bool]]) -> None:
    pairs = [*pairs, ("x", "y", True), ("y", "z", False)]  # a set holds pairs of both kinds
    names = "".join(left + right for left, right, _ in pairs)
    folder = tmp_path_factory.mktemp("bin")
    labels = BinSource(_write(folder / "x.bin", names, [same for _, _, same in pairs])).labels
    group = {name: {name} for name in names}
    for left, right, same in pairs:
        if same:
            merged = group[left] | group[right]
            group |= dict.fromkeys(merged, merged)
    order = list(dict.fromkeys(min(group[name], key=names.index) for name in names))
    assert labels.tolist() == [order.index(min(group[name], key=names.index)) for name in names]


def test_the_fingerprint_is_of_images_and_flags(tmp_path: Path) -> None:
    first = BinSource(_write(tmp_path / "a.bin", "abcd", [True, False])).fingerprint
    assert BinSource(_write(tmp_path / "b.bin", "abcd", [True, False])).fingerprint == first
    assert BinSource(_write(tmp_path / "c.bin", "abce", [True, False])).fingerprint != first
    assert BinSource(_write(tmp_path / "d.bin", "abcd", [False, True])).fingerprint != first


def test_a_source_can_be_pickled(tmp_path: Path) -> None:
    source = pickle.loads(pickle.dumps(BinSource(_write(tmp_path / "a.bin", "abcd", [True, False]))))
    assert source.content(3) == b"d"


def test_a_file_that_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lfw\.bin: cannot be read"):
        BinSource(tmp_path / "lfw.bin")
    (tmp_path / "lfw.bin").write_bytes(b"not a pickle")
    with pytest.raises(UserError, match=r"lfw\.bin: refused to unpickle"):
        BinSource(tmp_path / "lfw.bin")


def test_config(tmp_path: Path) -> None:
    config = OmegaConf.load(CONFIG)
    config.path = str(_write(tmp_path / "a.bin", "abcd", [True, False]))
    assert len(hydra.utils.instantiate(config)()) == 4
