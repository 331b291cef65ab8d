from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support_mtcnn import LANDMARKS, RED, scene, write_weights
from torch import Tensor

from src.errors import UserError
from src.models.networks.mtcnn import Faces, Mtcnn, cascade
from src.models.networks.mtcnn.networks import OutputNetwork, ProposalNetwork, RefinementNetwork

YELLOW = (255, 255, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights")
    write_weights(path)
    return path


@pytest.fixture(scope="module")
def mtcnn(folder: Path) -> Mtcnn:
    return Mtcnn(folder)


def _assert_same(found: list[Faces], expected: list[Faces]) -> None:
    assert [len(faces) for faces in found] == [len(faces) for faces in expected]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(one.probabilities, other.probabilities, rtol=0, atol=1e-5)
        torch.testing.assert_close(one.landmarks, other.landmarks, rtol=0, atol=1e-3)


def test_faces_from_the_most_probable(mtcnn: Mtcnn) -> None:
    (faces,) = mtcnn([scene(108, 158, (40, 50, RED), (110, 70, YELLOW))])
    assert len(faces) == 2
    for box, landmarks, centre in zip(faces.boxes, faces.landmarks, [[110.0, 70.0], [40.0, 50.0]], strict=True):
        middle = (box[:2] + box[2:]) / 2
        assert (middle - torch.tensor(centre)).abs().max() < 4
        side = box[2:] - box[:2]
        assert 18 <= side[0] == side[1] <= 30
        torch.testing.assert_close(landmarks, box[:2] - 1 + LANDMARKS * (side + 1))
    assert faces.probabilities[0] > faces.probabilities[1]
    assert faces.probabilities[1] == pytest.approx(1 / (1 + torch.e**-3), abs=1e-6)


def test_nothing_to_find(mtcnn: Mtcnn) -> None:
    images = [scene(64, 64), scene(19, 64, (10, 10, RED)), scene(0, 0)]  # black, smaller than the smallest face, empty
    for faces in mtcnn(images):
        assert len(faces) == 0
        assert (faces.boxes.shape, faces.probabilities.shape, faces.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))
    assert mtcnn([]) == []
    assert mtcnn(torch.zeros(0, 3, 64, 64, dtype=torch.uint8)) == []


def test_an_image_of_the_smallest_face(mtcnn: Mtcnn) -> None:
    (faces,) = mtcnn([scene(20, 20, (10, 10, RED))])
    assert faces.boxes.tolist() == [[1, 1, 20, 20]]


def test_faces_at_the_border(mtcnn: Mtcnn) -> None:
    corners = [(x, y, RED) for x in (10, 90) for y in (10, 70)]
    (faces,) = mtcnn([scene(78, 98, *corners)])
    middles = ((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2).tolist()
    assert len(faces) == 4
    assert all(min(abs(x - a) + abs(y - b) for a, b, _ in corners) < 8 for x, y in middles)


def test_images_of_several_sizes_keep_their_order(mtcnn: Mtcnn) -> None:
    images = [
        scene(63, 83, (30, 30, RED)),
        scene(88, 58, (30, 60, RED)),
        scene(63, 83),
        scene(88, 58),
        scene(63, 83, (50, 40, RED)),
    ]
    together = mtcnn(images)
    assert [len(faces) for faces in together] == [1, 1, 0, 0, 1]
    _assert_same(together, [mtcnn(image[None])[0] for image in images])
    _assert_same(mtcnn(torch.stack(images[::2])), together[::2])


@pytest.mark.parametrize(("height", "width"), [(61, 90), (72, 51), (73, 40)])
def test_little_memory_finds_the_same(height: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for name, network in (("pnet", ProposalNetwork()), ("rnet", RefinementNetwork()), ("onet", OutputNetwork())):
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
    mtcnn = Mtcnn(tmp_path, thresholds=(0, 0, 0))
    images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
    expected = mtcnn(images)
    assert all(len(faces) > 5 for faces in expected)
    for name, value in (("_IMAGE_PIXELS", 2 * height * width), ("_SCALED_PIXELS", 1200), ("_SQUARES", 5)):
        monkeypatch.setattr(cascade, name, value)
    _assert_same(mtcnn(images), expected)


def test_one_file_with_all_three(folder: Path, mtcnn: Mtcnn, tmp_path: Path) -> None:
    torch.save(mtcnn.state_dict(), tmp_path / "mtcnn.pt")
    images = scene(63, 83, (30, 30, RED))[None]
    _assert_same(Mtcnn(tmp_path / "mtcnn.pt")(images), mtcnn(images))


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 64, 64, dtype=torch.uint8), torch.zeros(3, 64, 64), torch.zeros(64, 64, dtype=torch.uint8)]
)
def test_other_arrays(mtcnn: Mtcnn, image: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected images uint8 \[3, H, W\] RGB, found torch\.\w+ \["):
        mtcnn([image])


def test_files_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights file at \S*none\nExpected .* a folder with pnet.pt, rnet.pt"):
        Mtcnn(tmp_path / "none")
    weights = write_weights(tmp_path)
    (tmp_path / "rnet.pt").unlink()
    with pytest.raises(UserError, match=r"no weights file at \S*rnet\.pt"):
        Mtcnn(tmp_path)
    torch.save(weights["onet"], tmp_path / "rnet.pt")
    with pytest.raises(UserError, match=r"rnet\.pt does not fit the network"):
        Mtcnn(tmp_path)
    with pytest.raises(UserError, match=r"pnet\.pt does not fit the network[\s\S]*or one file with all three"):
        Mtcnn(folder / "pnet.pt")
    (tmp_path / "rnet.pt").write_bytes((folder / "rnet.pt").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"rnet\.pt is damaged"):
        Mtcnn(tmp_path)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    weights["onet"]["conv2.bias"][3] = float("nan")
    torch.save(weights["onet"], tmp_path / "onet.pt")
    with pytest.raises(UserError, match=r"onet\.conv2\.bias holds numbers that are not finite"):
        Mtcnn(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_face": 0}, "min_face: expected at least 1 pixel, found 0"),
        ({"thresholds": (0.6, 0.7)}, "thresholds: expected three numbers from 0 to 1"),
        ({"thresholds": (0.6, 0.7, 7)}, "thresholds: expected three numbers from 0 to 1"),
        ({"factor": 1}, "factor: expected more than 0 and less than 1, found 1"),
    ],
)
def test_settings_out_of_their_range(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        Mtcnn(tmp_path, **settings)
