from __future__ import annotations

import re
from pathlib import Path

import lightning as L
import pytest
import torch
from support_hashing import face_data, fit, hashing_module
from torch.utils.data import DataLoader

from src.callbacks.code_pictures import CodePictures
from src.datamodules.face_datamodule import FaceDataModule
from src.eval.figures.canvas import read_figure

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*number of training batches", "ignore:.*in eval mode at the start"
)

NAMES = ["images_codes_entropy.png", "images_codes_hardest_pairs.png", "images_codes_symbols.png"]


class Validated(FaceDataModule):
    def val_dataloader(self) -> list[DataLoader]:  # type: ignore[override]
        image = self.example_batch(16)["image"]
        return [DataLoader([{"image": image[i], "index": i} for i in range(len(image))], batch_size=5)]


def validated() -> FaceDataModule:
    datamodule = face_data()
    datamodule.__class__ = Validated
    return datamodule


def test_what_is_drawn_after_validation_and_training(tmp_path: Path) -> None:
    model = hashing_module()
    fit(model, validated(), epochs=2, callbacks=[CodePictures(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
    hardest = read_figure(tmp_path / NAMES[1])
    assert "over steps 1 to 6: widest to the same person from" in hardest.alt

    codes = model.eval()(validated().example_batch(16)["image"])
    shares = [float((codes == symbol).double().mean()) for symbol in range(8)]
    expected = f"from {100 * min(shares):.1f} % to {100 * max(shares):.1f} %; 12.5 % each would be even."
    assert read_figure(tmp_path / NAMES[2]).alt.endswith(expected)
    assert re.search(r"Entropies of 32 positions: .* of 3 bits", read_figure(tmp_path / NAMES[0]).alt)


def test_continued_run_keeps_the_angles(tmp_path: Path) -> None:
    trainer = fit(hashing_module(), validated(), epochs=1, callbacks=[CodePictures(tmp_path)])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    pictures = CodePictures(tmp_path)
    fit(
        hashing_module(), validated(), epochs=2, callbacks=[pictures], ckpt_path=tmp_path / "last.ckpt",
        weights_only=True,
    )  # fmt: skip
    assert [step for step, *_ in pictures.state_dict()["hardest"]] == [1, 2, 3, 4, 5, 6]


def test_embeddings_are_not_drawn(tmp_path: Path) -> None:
    pictures = CodePictures(tmp_path)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[pictures])
    reference = hashing_module().reference()
    assert reference is not None
    with torch.no_grad():
        trainer.validate(reference, datamodule=validated(), verbose=False)
    assert list(tmp_path.iterdir()) == []
