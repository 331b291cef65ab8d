from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from support_checkpoint import write_checkpoint
from support_gallery_commands import write_rank_hash

from src.apps.checkpoint import TrainedCheckpoint
from src.apps.gallery.encoding import Encoder
from src.apps.gallery.photographs import find_photographs
from src.datamodules.sample import to_float
from src.errors import UserError
from src.models.networks.mini import MiniFaceNet


def encoder(checkpoint: Path, batch_size: int = 7, max_bad_fraction: float = 0.0, device: str = "cpu") -> Encoder:
    return Encoder(checkpoint, device=device, batch_size=batch_size, max_bad_fraction=max_bad_fraction)


@torch.no_grad()
def test_codes_are_those_of_the_aligned_photograph_and_its_mirror_image(people: Path, checkpoint: Path) -> None:
    photographs = find_photographs(people)[:10]
    made = encoder(checkpoint)
    assert (made.m, made.q) == (40, 8)
    batches = list(made.encode(photographs, flip=True, out_of=10))
    assert [len(batch) for batch, _ in batches] == [7, 3]
    images = to_float(torch.stack([one.image.load(32) for one in photographs]))
    network = TrainedCheckpoint.read(checkpoint).build_backbone()
    expected = torch.cat([network(images), network(images.flip(-1))], 1)
    found = torch.cat([codes for _, codes in batches])
    assert found.dtype == torch.uint8
    assert found.shape == (10, 80)
    # Sums in batches of another size may differ in the last place, and turn a symbol that was a tie.
    assert (found != expected).float().mean() < 0.01
    assert [one for batch, _ in batches for one in batch] == photographs


def test_fingerprints_tell_networks_apart(people: Path, checkpoint: Path, tmp_path: Path) -> None:
    other = write_rank_hash(tmp_path / "other.ckpt", people, seed=1)
    assert encoder(checkpoint).fingerprint == encoder(checkpoint).fingerprint != encoder(other).fingerprint


def test_unreadable_photographs(people: Path, checkpoint: Path, tmp_path: Path) -> None:
    for number, photograph in enumerate(find_photographs(people)[:9]):
        (tmp_path / f"{number}.jpg").write_bytes(Path(photograph.name).read_bytes())
    (tmp_path / "3.jpg").write_bytes(b"burnt")
    photographs = find_photographs(tmp_path)
    tolerant = encoder(checkpoint, batch_size=4, max_bad_fraction=0.12)
    batches = list(tolerant.encode(photographs, flip=False, out_of=9))
    assert [[Path(one.name).stem for one in batch] for batch, _ in batches] == [list("012"), list("4567"), ["8"]]
    assert [codes.shape for _, codes in batches] == [(3, 40), (4, 40), (1, 40)]
    assert len(tolerant.unreadable) == 1
    assert "3.jpg: not a readable JPEG or PNG" in tolerant.unreadable[0]
    with pytest.raises(UserError, match=r"1 of 9 photographs so far cannot be read, more than max_bad_fraction=0.11 "):
        list(encoder(checkpoint, max_bad_fraction=0.11).encode(photographs, flip=False, out_of=9))


def test_nothing_to_encode_and_nothing_readable(checkpoint: Path, tmp_path: Path) -> None:
    assert list(encoder(checkpoint).encode([], flip=True, out_of=0)) == []
    (tmp_path / "1.jpg").write_bytes(b"burnt")
    batches = list(encoder(checkpoint, max_bad_fraction=1).encode(find_photographs(tmp_path), flip=True, out_of=1))
    assert [(batch, codes.shape) for batch, codes in batches] == [([], (0, 80))]


def test_a_checkpoint_without_codes(tmp_path: Path) -> None:
    backbone = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 16, "size": 32}
    path = write_checkpoint(tmp_path / "last.ckpt", MiniFaceNet(16, 32), backbone, 32)
    with pytest.raises(UserError, match=re.escape(f"ckpt_path={path}: its network, MiniFaceNet, makes no codes")):
        encoder(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"max_bad_fraction": 1.5}, "max_bad_fraction between 0 and 1"),
        ({"device": "gpu"}, "device: expected auto, cpu or cuda, found 'gpu'"),
        pytest.param(
            {"device": "cuda"},
            "device=cuda: this machine has no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_mistakes_show_before_the_checkpoint_is_read(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoder(Path("nowhere.ckpt"), **options)
