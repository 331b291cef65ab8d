from __future__ import annotations

import logging
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.datamodules.alignment import centre_crop
from src.datamodules.decode import decode
from src.datamodules.gender_sets import GenderFaces, GenderSet, read_gender_bin, write_gender_bin
from src.datamodules.verification_sets import read_bin, write_bin
from src.errors import UserError

MakeImage = Callable[..., bytes]
SAME = [True, False] * 2
SUBJECTS = ["ann", "bob", "ann", "cid", "dee"]
GENDERS = [0, 1, 0, 1, 0]
PAIR_GENDERS = [[0, 0], [1, 0], [-1, 1], [0, 1]]


@pytest.fixture
def images(make_image: MakeImage) -> list[bytes]:
    return [make_image(i, 112, 112) for i in range(8)]


@pytest.fixture
def faces(make_image: MakeImage) -> list[bytes]:
    return [make_image(100 + i, 112, 112) for i in range(5)]


def read(path: Path, **options: Any) -> GenderSet:
    return read_gender_bin(path, folds=2, **options)


def faces_of(path: Path, **options: Any) -> GenderFaces:
    faces = read(path, **options).faces
    assert faces is not None
    return faces


def dump(path: Path, *entries: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(entries, protocol))
    return path


def test_what_is_written_can_be_read(tmp_path: Path, images: list[bytes], faces: list[bytes]) -> None:
    path = tmp_path / "lfw.bin"
    write_gender_bin(path, images, np.array(SAME), faces, SUBJECTS, GENDERS, PAIR_GENDERS)
    found = read(path)
    assert (found.name, found.pairs.name, found.pairs.folds) == ("lfw", "lfw", 2)
    assert found.pairs.same.tolist() == SAME
    assert torch.equal(found.pairs.images[5].load(112), decode(images[5]))
    assert found.faces is not None
    assert len(found.faces) == 5
    assert torch.equal(found.faces.images[4].load(112), decode(faces[4]))
    assert (found.faces.subjects.dtype, found.faces.subjects.tolist()) == (np.int64, [0, 1, 0, 2, 3])
    assert (found.faces.attributes.dtype, found.faces.attributes.tolist()) == (np.int8, GENDERS)
    assert found.pair_attributes is not None
    assert (found.pair_attributes.dtype, found.pair_attributes.tolist()) == (np.int8, PAIR_GENDERS)
    assert path.read_bytes().startswith(b"\x80\x04")


def test_the_five_entries_of_the_format(tmp_path: Path, images: list[bytes], faces: list[bytes]) -> None:
    """Other readers index the genders with arrays, which a list would not take."""
    path = tmp_path / "lfw.bin"
    write_gender_bin(path, images, SAME, faces, [7, 3, 7, 1, 0], GENDERS)
    bins, same, gender_bins, subjects, genders = pickle.loads(path.read_bytes())
    assert (bins, same, gender_bins) == (images, SAME, faces)
    assert subjects.tolist() == [7, 3, 7, 1, 0]
    assert genders[np.array([1, 3])].tolist() == [1, 1]
    assert read(path).pair_attributes is None


def test_plain_files_serve_verification_only(tmp_path: Path, images: list[bytes]) -> None:
    write_bin(tmp_path / "lfw.bin", images, SAME)
    found = read(tmp_path / "lfw.bin", name="other")
    assert (found.name, len(found.pairs), found.faces, found.pair_attributes) == ("other", 4, None, None)


def test_plain_readers_take_the_pairs_of_files_with_genders(
    tmp_path: Path, images: list[bytes], faces: list[bytes]
) -> None:
    path = tmp_path / "lfw.bin"
    for more in ([], [PAIR_GENDERS]):
        write_gender_bin(path, images, SAME, faces, SUBJECTS, GENDERS, *more)
        pairs = read_bin(path, folds=2)
        assert pairs.same.tolist() == SAME
        assert torch.equal(pairs.images[7].load(112), decode(images[7]))


@pytest.mark.parametrize("genders", [[], np.array([])])
def test_without_genders_only_pairs_are_evaluated(
    tmp_path: Path, images: list[bytes], faces: list[bytes], genders: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = dump(tmp_path / "lfw.bin", images, SAME, faces, SUBJECTS, genders)
    assert read(path).faces is None
    assert "lfw.bin: holds no gender, so only its pairs are evaluated" in caplog.text


def _array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _objects(contents: list[Any]) -> np.ndarray:
    array = np.empty(len(contents), object)
    array[:] = contents
    return array


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("convert", "collect"),
    [
        (bytes, list),
        (bytes, _objects),
        (bytearray, _objects),
        (_array, list),
        (lambda data: _array(data)[:, None], tuple),
    ],
)
def test_variants_of_images(
    tmp_path: Path,
    images: list[bytes],
    faces: list[bytes],
    convert: Callable[[bytes], Any],
    collect: Callable[[list[Any]], Any],
    protocol: int,
) -> None:
    entries = [collect([convert(image) for image in part]) for part in (images, faces)]
    path = dump(tmp_path / "a.bin", entries[0], SAME, entries[1], SUBJECTS, np.array(GENDERS), protocol=protocol)
    assert torch.equal(faces_of(path).images[2].load(112), decode(faces[2]))


@pytest.mark.parametrize(
    "subjects",
    [
        SUBJECTS, tuple(SUBJECTS), np.array(SUBJECTS), _objects(SUBJECTS), [name.encode() for name in SUBJECTS],
        np.array([name.encode() for name in SUBJECTS]), [5, -1, 5, 0, 2**40], np.array([5, 9, 5, 0, 2], np.int32),
        [np.int64(5), np.str_("5a"), 5, b"x", "y"], np.array([[5], [9], [5], [0], [2]]), [5.0, 9.0, 5, 0.0, 2],
    ],
)  # fmt: skip
@pytest.mark.parametrize("genders", [np.array(GENDERS), GENDERS, np.array(GENDERS, float), np.array(GENDERS, bool)])
@pytest.mark.parametrize("protocol", [2, 4])
def test_variants_of_subjects_and_genders(
    tmp_path: Path, images: list[bytes], faces: list[bytes], subjects: Any, genders: Any, protocol: int
) -> None:
    path = dump(tmp_path / "a.bin", images, SAME, faces, subjects, genders, protocol=protocol)
    found = faces_of(path)
    assert found.subjects.tolist() == [0, 1, 0, 2, 3]
    assert found.attributes.tolist() == GENDERS


def test_file_of_python_2(tmp_path: Path, images: list[bytes], faces: list[bytes]) -> None:
    """Protocol 2 with strings of bytes and NumPy arrays as Python 2 writes them."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(content)) + content

    def short(content: bytes) -> bytes:
        return b"U" + bytes([len(content)]) + content

    def sequence(items: list[bytes]) -> bytes:
        return b"](" + b"".join(items) + b"e"

    genders = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b") + b"\x87R"
        b"(K\x01K\x05\x85cnumpy\ndtype\n" + short(b"i8") + b"K\x00K\x01\x87R"
        b"(K\x03" + short(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + short(np.array(GENDERS, "<i8").tobytes()) + b"tb"
    )  # fmt: skip
    parts = [
        sequence([text(image) for image in images]),
        sequence([b"\x88" if same else b"\x89" for same in SAME]),
        sequence([text(face) for face in faces]),
        sequence([short(name.encode()) for name in SUBJECTS]),
        genders,
    ]
    (tmp_path / "a.bin").write_bytes(b"\x80\x02(" + b"".join(parts) + b"t.")
    found = faces_of(tmp_path / "a.bin")
    assert found.subjects.tolist() == [0, 1, 0, 2, 3]
    assert found.attributes.tolist() == GENDERS
    assert torch.equal(found.images[0].load(112), decode(faces[0]))


@pytest.mark.parametrize("codes", [{0: 1, 1: 0}, {"0": 1, "1": 0}])
def test_codes_the_other_way_round(
    tmp_path: Path, images: list[bytes], faces: list[bytes], codes: dict[Any, int]
) -> None:
    path = tmp_path / "a.bin"
    write_gender_bin(path, images, SAME, faces, SUBJECTS, GENDERS, PAIR_GENDERS)
    found = read(path, gender_codes=codes)
    assert found.faces is not None
    assert found.faces.attributes.tolist() == [1, 0, 1, 0, 1]
    assert found.pair_attributes is not None
    assert found.pair_attributes.tolist() == [[1, 1], [0, 1], [-1, 0], [1, 0]]


def test_codes_may_be_letters(tmp_path: Path, images: list[bytes], faces: list[bytes]) -> None:
    path = dump(tmp_path / "a.bin", images, SAME, faces, SUBJECTS, np.array(["f", "m", "f", "m", "f"]))
    assert faces_of(path, gender_codes={"f": 0, "m": 1}).attributes.tolist() == GENDERS
    with pytest.raises(UserError, match=r"gender_codes: expected 0 \(female\) or 1 \(male\)"):
        read(path, gender_codes={"f": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: [b"x", 3] * 4}, r"a\.bin: images: expected a list of encoded images: an image is a int"),
        ({2: 5}, r"a\.bin: faces: expected a list of encoded images"),
        ({1: [True, False]}, "8 images for 2 pairs"),
        ({3: ["ann"]}, r"a\.bin: 5 faces, 1 subjects and 5 genders"),
        ({3: {"ann": 1}}, r"a\.bin: subjects: expected a list or an array, found a dict"),
        ({3: [1, 2, 1, [3], 4]}, r"a\.bin: subjects: expected whole numbers or strings, found a list"),
        ({3: [1, 2, 1, 10**5000, 4]}, r"a\.bin: subjects: expected whole numbers or strings, found a int"),
        ({4: [0, 1, 0, 1]}, r"a\.bin: 5 faces, 5 subjects and 4 genders"),
        ({4: [0, 1, 0, 1, 2]}, r"a\.bin: the gender '2' is none of 0, 1; name what it stands for in gender_codes"),
        ({4: [0, 1, 0, 1, 0.5]}, r"a\.bin: genders: expected whole numbers or strings, found a float"),
        ({4: [0, 0, 0, 0, 0]}, r"a\.bin: no face is male, so no gender can be told"),
        ({4: [1, 1, 1, 1, 1]}, r"a\.bin: no face is female"),
        ({4: [0, 1, 1, 1, 0]}, r"a\.bin: subject 'ann' has faces of both genders"),
        ({5: [[0, 1]]}, r"a\.bin: expected genders \[4, 2\] of the pairs"),
        ({5: [[0, 3], [1, 0], [1, 1], [0, 1]]}, r"a\.bin: the gender '3' is none of -1, 0, 1"),
        ({5: [[0, 0], [1, 0], [1, 0], [0, 1]]}, r"a\.bin: pair 2 is of one person, but of two genders"),
    ],
)
def test_unusable_content(
    tmp_path: Path, images: list[bytes], faces: list[bytes], changes: dict[int, Any], message: str
) -> None:
    entries = [images, SAME, faces, SUBJECTS, GENDERS, PAIR_GENDERS]
    for number, entry in changes.items():
        entries[number] = entry
    with pytest.raises(UserError, match=message):
        read(dump(tmp_path / "a.bin", *entries))


def test_other_numbers_of_entries(tmp_path: Path, images: list[bytes]) -> None:
    with pytest.raises(UserError, match=r"a\.bin: expected a pair .*, or five or six entries .* found 3 entries"):
        read(dump(tmp_path / "a.bin", images, SAME, images))


def test_a_missing_file_is_named_with_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.bin: cannot be read \(No such file.*G genders\).*write_gender_bin"):
        read(tmp_path / "none.bin")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, images: list[bytes], faces: list[bytes]) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    for place in range(5):
        entries: list[Any] = [images, SAME, faces, SUBJECTS, GENDERS]
        entries[place] = Evil()
        with pytest.raises(UserError, match=r"a\.bin: refused to unpickle: it refers to .*system"):
            read(dump(tmp_path / "a.bin", *entries))
    assert not (tmp_path / "owned").exists()


def test_what_cannot_be_read_is_not_written(tmp_path: Path, images: list[bytes], faces: list[bytes]) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(UserError, match="7 images for 4 pairs"):
        write_gender_bin(path, images[1:], SAME, faces, SUBJECTS, GENDERS)
    with pytest.raises(UserError, match="subject 'ann' has faces of both genders"):
        write_gender_bin(path, images, SAME, faces, SUBJECTS, [0, 1, 1, 1, 0])
    with pytest.raises(UserError, match=r"expected genders \[4, 2\]"):
        write_gender_bin(path, images, SAME, faces, SUBJECTS, GENDERS, [0, 1])
    assert not path.exists()


def test_images_of_other_sizes(
    tmp_path: Path, images: list[bytes], make_image: MakeImage, caplog: pytest.LogCaptureFixture
) -> None:
    wide, large = make_image(1, 130, 100), make_image(2, 224, 224)
    path = tmp_path / "a.bin"
    write_gender_bin(path, [wide, *images[1:]], SAME, [wide, large, images[0]], [0, 1, 2], [0, 1, 1])
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        found = read(path)
    assert caplog.text.count("are not 112 x 112 pixels") == 1
    assert "3 of 11 images are not 112 x 112 pixels (the first is 130 x 100)" in caplog.text
    assert found.faces is not None
    assert torch.equal(found.faces.images[0].load(112), centre_crop(decode(wide), 112))
    assert torch.equal(found.pairs.images[0].load(100), decode(wide)[:, 15:115])
    assert found.faces.images[1].load(112).shape == (112, 112, 3)


def test_the_fingerprint_changes_with_all_that_is_evaluated(
    tmp_path: Path, images: list[bytes], faces: list[bytes]
) -> None:
    def fingerprint(**changes: Any) -> str:
        entries: dict[str, Any] = {
            "images": images, "same": SAME, "face_images": faces, "subjects": SUBJECTS, "attributes": GENDERS,
            "pair_attributes": PAIR_GENDERS,
        }  # fmt: skip
        write_gender_bin(tmp_path / "a.bin", **entries | changes)
        return read(tmp_path / "a.bin").fingerprint

    original = fingerprint()
    assert fingerprint() == original
    assert fingerprint(subjects=["x", "y", "x", "z", "w"]) == original
    others = [
        fingerprint(images=[*images[:-1], images[0]]),
        fingerprint(face_images=[*faces[:-1], faces[0]]),
        fingerprint(subjects=["ann", "bob", "ann", "bob", "dee"]),
        fingerprint(attributes=[0, 1, 0, 1, 1]),
        fingerprint(pair_attributes=None),
        fingerprint(pair_attributes=[[0, 0], [1, 0], [1, 1], [0, 1]]),
    ]
    assert len({original, *others}) == 7


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_set_survives_the_round_trip(tmp_path: Path, data: st.DataObject) -> None:
    content = st.binary(max_size=20)
    kinds = data.draw(st.lists(st.sampled_from([(0, 0, True), (0, 1, False), (1, 1, True), (-1, 0, False)])))
    same = [True, False, *(kind[2] for kind in kinds)]
    pair_genders = [(1, 1), (1, 0), *(kind[:2] for kind in kinds)]
    images = data.draw(st.lists(content, min_size=2 * len(same), max_size=2 * len(same)))
    gender_of = {0: 0, 1: 1} | data.draw(st.dictionaries(st.integers(2, 40), st.sampled_from([0, 1])))
    people = [0, 1, *data.draw(st.lists(st.sampled_from(sorted(gender_of))))]
    faces = data.draw(st.lists(content, min_size=len(people), max_size=len(people)))
    genders = [gender_of[person] for person in people]
    as_text = data.draw(st.booleans())
    subjects = [f"n{person:02d}" for person in people] if as_text else people
    path = tmp_path / "a.bin"
    write_gender_bin(path, images, same, faces, subjects, genders, pair_genders)
    found = read_gender_bin(path, folds=1)
    assert found.pairs.same.tolist() == same
    assert [image.content for image in found.pairs.images] == images  # type: ignore[attr-defined]
    assert found.faces is not None
    assert [image.content for image in found.faces.images] == faces  # type: ignore[attr-defined]
    assert found.faces.attributes.tolist() == genders
    order = list(dict.fromkeys(people))
    assert [order[number] for number in found.faces.subjects] == people
    assert found.pair_attributes is not None
    assert [tuple(pair) for pair in found.pair_attributes.tolist()] == pair_genders
