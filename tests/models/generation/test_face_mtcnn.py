"""The faces on photographs, and `privface generate` with them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from support_generate import generate, without, write_inputs
from support_mtcnn import LANDMARKS, RED, scene, write_weights
from torch import Tensor

from src.datamodules.decode import decode
from src.errors import UserError
from src.models.generation.face_mtcnn import MtcnnFaceDetector
from src.models.generation.faces import FaceRule
from src.models.generation.rules import Rule
from src.models.networks.mtcnn import Mtcnn


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder)
    return folder


def test_detections(weights: Path) -> None:
    detector = MtcnnFaceDetector(weights)
    images = torch.stack([scene(63, 83, (30, 30, RED)), scene(63, 83), scene(63, 83, (20, 30, RED), (60, 30, RED))])
    found = detector(images)
    assert [len(faces) for faces in found] == [1, 0, 2]
    (face,) = found[0]
    assert 0.9 < face.probability < 1
    assert face.landmarks.shape == (5, 2)
    size = (face.landmarks[1, 0] - face.landmarks[0, 0]) / (LANDMARKS[1, 0] - LANDMARKS[0, 0])
    assert size == pytest.approx(20, abs=1)
    rule = FaceRule(min_probability=0.9)
    assert [rule(faces) for faces in found] == [None, Rule.NO_FACE, Rule.SEVERAL_FACES]
    again = pickle.loads(pickle.dumps(detector))(images)
    assert [[face.probability for face in faces] for faces in again] == [
        [face.probability for face in faces] for faces in found
    ]


def test_other_thresholds_and_weights_are_another_detector(weights: Path, tmp_path: Path) -> None:
    write_weights(tmp_path)
    other = torch.load(tmp_path / "onet.pt", weights_only=True)
    other["dense6_1.bias"] += 1
    torch.save(other, tmp_path / "onet.pt")
    detectors = (
        MtcnnFaceDetector(weights),
        MtcnnFaceDetector(weights, thresholds=(0.6, 0.7, 0.8)),
        MtcnnFaceDetector(weights, min_face=21),
        MtcnnFaceDetector(tmp_path),
    )
    assert len({detector.fingerprint for detector in detectors}) == 4
    assert MtcnnFaceDetector(weights).fingerprint == detectors[0].fingerprint


def test_a_device_that_is_not_there(weights: Path) -> None:
    with pytest.raises(UserError, match=r"detector\.device: expected a device of this machine, found 'abacus'"):
        MtcnnFaceDetector(weights, device="abacus")


def test_generate_with_this_detector(weights: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "inputs")
    keys = [*without("detector="), "detector=mtcnn", f"detector.path={weights}", "max_identity_attempts=12"]
    with pytest.raises(UserError, match=r"12 in a row were rejected .*; people rejected by: no_face \d"):
        generate(*inputs, *keys, "detector.thresholds=[1,1,1]", f"out={tmp_path / 'nobody'}")
    # A P-Net that fires anywhere, of which one square is left where the smallest face fills the image.
    generate(
        *inputs,
        *keys,
        "detector.thresholds=[0,0,0]",
        "detector.min_face=16",
        "face_probability=0.5",
        "reject_multi_face=false",
        f"out={tmp_path / 'people'}",
    )
    assert len(list((tmp_path / "people").glob("id_*/VIS/*.png"))) == 12


def test_missing_weights_are_told_before_anything_is_read(tmp_path: Path) -> None:
    missing = [
        "ckpt_path=none.ckpt",
        "recogniser=none.ckpt",
        "known=none.json",
        *without("detector="),
        "detector=mtcnn",
    ]
    with pytest.raises(UserError, match=r"detector\.path"):
        generate(*missing, f"out={tmp_path / 'people'}")
    with pytest.raises(UserError) as error:
        generate(*missing, f"detector.path={tmp_path}", f"out={tmp_path / 'people'}")
    assert str(error.value).startswith(f"no weights file at {tmp_path / 'pnet.pt'}\nExpected the weights of MTCNN: ")
    assert not (tmp_path / "people").exists()


@pytest.fixture(scope="module")
def published() -> Mtcnn:
    folder = os.environ.get("PRIVFACE_MTCNN")
    if folder is None:
        pytest.skip("set PRIVFACE_MTCNN to a folder with pnet.pt, rnet.pt and onet.pt of facenet-pytorch")
    return Mtcnn(folder)


@pytest.fixture(scope="module")
def photographs() -> list[tuple[Tensor, Tensor]]:
    """Every fiftieth of the photographs, uint8 [3, H, W], with its landmarks [5, 2]."""
    default = Path(__file__).parents[4] / "shared" / "data" / "lfw-small"
    folder = Path(os.environ.get("PRIVFACE_REAL_DATA", default))
    if not (folder / "landmarks.csv").is_file():
        pytest.skip(f"no photographs at {folder}; set PRIVFACE_REAL_DATA to a folder with landmarks.csv")
    rows = [line.split(",") for line in (folder / "landmarks.csv").read_text().splitlines()[1::50]]
    return [
        (
            decode((folder / name).read_bytes()).permute(2, 0, 1),
            torch.tensor([float(number) for number in numbers]).reshape(5, 2),
        )
        for name, *numbers in rows
    ]


def test_faces_on_photographs(published: Mtcnn, photographs: list[tuple[Tensor, Tensor]]) -> None:
    images = [image for image, _ in photographs]
    for faces, (_, landmarks) in zip(published(images), photographs, strict=True):
        assert faces.probabilities[0] > 0.9
        assert (faces.landmarks[0] - landmarks).abs().max() < 0.2  # they are from the same weights, rounded to 0.1
    several = torch.cat([images[0], images[1].flip(2)], dim=2)
    grey = images[0].float().mean(0).to(torch.uint8).expand(3, -1, -1)
    two, one, none = published([several, grey, images[0].flip(1)[:, :80]])
    noses = sorted(two.landmarks[:2, 2, 0].tolist())
    assert noses[0] < images[0].shape[2] < noses[1]
    assert (one.landmarks[0] - photographs[0][1]).abs().max() < 5
    assert len(none) == 0
