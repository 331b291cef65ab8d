"""The parts of anonymising: squares, tracks, landmarks, encrypted faces."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.apps.anonymize.boxes import Box, DetectedBoxes
from src.apps.anonymize.crops import Crop, Face
from src.apps.anonymize.originals import OriginalsReader, OriginalsWriter
from src.apps.anonymize.secret import Secret, read_secret
from src.apps.anonymize.tracking import Tracker
from src.errors import UserError
from src.models.generation.faces import Detection
from src.models.networks.password_transformer.password import Password

IMAGE = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
CROPS = st.builds(Crop, st.integers(-40, 40), st.integers(-40, 40), st.integers(2, 60))


def test_the_square_of_the_published_example() -> None:
    assert Crop.around((80, 70, 170, 190)) == Crop(35, 40, 180)


@settings(deadline=None, max_examples=60)
@given(CROPS)
def test_what_is_cut_out_and_pasted_back_changes_nothing(crop: Crop) -> None:
    image = IMAGE.copy()
    crop.paste(image, crop.cut(image, crop.side))
    assert (image == IMAGE).all()


@settings(deadline=None, max_examples=60)
@given(CROPS, st.sampled_from([4, 32]))
def test_nothing_outside_of_a_square_changes(crop: Crop, size: int) -> None:
    image = IMAGE.copy()
    crop.paste(image, torch.full((3, size, size), 1.0))
    changed = (image != IMAGE).any(-1)
    changed[crop.visible(*IMAGE.shape[:2])] = False
    assert not changed.any()


def test_a_square_fades_within_the_image_but_not_at_its_borders() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    Crop(-8, 16, 48).paste(image, torch.ones(3, 48, 48))
    assert (image[20:60, :36] == 255).all()
    column = image[16:20, 20, 0].astype(int)
    assert (np.diff(column) > 0).all()
    assert 0 < column[0] < 128
    assert (image[:16] == 0).all()


def test_what_lies_beyond_an_image_is_its_reflection() -> None:
    cut = Crop(-2, 0, 5).cut(IMAGE, 5)
    assert torch.equal(cut[:, :, 0], cut[:, :, 4])
    assert torch.equal(cut[:, :, 1], cut[:, :, 3])


def test_tracks_are_smooth_and_held() -> None:
    tracker = Tracker(smoothing=0.5, hold=2)
    (track,) = tracker.update([Box(0, 0, 10, 10)])
    assert [next(iter(tracker.update([Box(2, 0, 12, 10)]))) is track, track.box[0]] == [True, 1.0]
    far = tracker.update([Box(100, 0, 110, 10)])
    assert [held.person for held in far] == [0, 1]
    assert [held.person for held in tracker.update([Box(100, 0, 110, 10)])] == [0, 1]
    assert [held.person for held in tracker.update([Box(100, 0, 110, 10)])] == [1]


def test_named_faces_are_followed_wherever_they_are() -> None:
    tracker = Tracker(smoothing=0.0, hold=0)
    tracker.update([Box(0, 0, 10, 10, "a"), Box(5, 0, 15, 10, "b")])
    found = tracker.update([Box(0, 0, 10, 10, "b"), Box(50, 0, 60, 10, "a")])
    assert {track.person: track.box[0] for track in found} == {"a": 50.0, "b": 0.0}


def test_boxes_from_landmarks_of_any_detector() -> None:
    points = torch.tensor([[104.67, 112.49], [145.09, 111.73], [124.85, 136.51], [107.60, 157.14], [143.56, 156.73]])
    images = [np.zeros((250, 250, 3), np.uint8)] * 2
    found = DetectedBoxes(_Detector([Detection(1.0, points)]))("a.png", [0, 1], images)
    assert [len(boxes) for boxes in found] == [1, 1]
    (box,) = found[0]
    assert box.right - box.left == pytest.approx(91, abs=1)
    assert (box.left + box.right) / 2 == pytest.approx(125, abs=1)


class _Detector:
    fingerprint = "test"

    def __init__(self, faces: list[Detection]) -> None:
        self._faces = faces

    def __call__(self, images: torch.Tensor) -> list[list[Detection]]:
        return [self._faces] * len(images)


def test_encrypted_faces_cannot_change_places() -> None:
    key, file = bytes(32), io.BytesIO()
    writer = OriginalsWriter(file, key)
    for shift in range(3):
        writer.add(np.roll(IMAGE, shift, 0), [Face(Crop(3, 4, 10), b"")])
    writer.close()
    content = file.getvalue()
    length = int.from_bytes(content[:4]) + 4
    reader = OriginalsReader(io.BytesIO(content), key, Path("x"))
    for shift in range(3):
        image = np.zeros_like(IMAGE)
        reader.restore(image)
        assert (image[4:14, 3:13] == np.roll(IMAGE, shift, 0)[4:14, 3:13]).all()
        assert image.sum() == image[4:14, 3:13].sum()
    reader.close()
    swapped = OriginalsReader(io.BytesIO(content[length:]), key, Path("x"))
    with pytest.raises(UserError, match="x: cannot be opened"):
        swapped.restore(np.zeros_like(IMAGE))


def test_what_is_derived_from_a_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", "correct horse")
    secret = read_secret(None, "SECRET_OF_TEST", twice=True)
    assert torch.equal(secret.bits(b"fit-v1:demo", 16), Password.from_int(0xC2E9, 16).bits())
    assert secret.key(b"a") != secret.key(b"b")
    assert "horse" not in repr(secret)
    others = [secret.misspelt(place) for place in range(20)]
    assert all(not torch.equal(other.bits(b"s", 64), secret.bits(b"s", 64)) for other in others[:3])


def test_the_two_typed_passwords_have_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["one", "two", "same", "same"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    with pytest.raises(UserError, match="not the same"):
        read_secret(None, None, twice=True)
    same = Secret("same").bits(b"", 64)
    assert torch.equal(read_secret(None, None, twice=True).bits(b"", 64), same)


def test_there_has_to_be_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr("os.open", refuse)
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    with pytest.raises(UserError, match="no terminal to ask on"):
        read_secret(None, None, twice=True)
