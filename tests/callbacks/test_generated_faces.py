from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support_gan import SIZE, fit, gan, pairs

from src.callbacks.generated_faces import GeneratedFaces, rows_of_people
from src.callbacks.generative_metrics import GenerativeMetricsCallback
from src.eval.generative.features import as_stored

pytestmark = pytest.mark.filterwarnings("ignore")

CELL = SIZE + 2


def pictures(folder: Path, **options: float) -> GeneratedFaces:
    return GeneratedFaces(folder / "samples", folder / "figures", identities=3, samples=2, **options)  # type: ignore[arg-type]


def cell(path: Path, row: int, column: int) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return pixels[2 + row * CELL :, 2 + column * CELL :][:SIZE, :SIZE]


def test_pictures_at_intervals(tmp_path: Path) -> None:
    fit(gan(kimg=2.004), tmp_path, callbacks=[pictures(tmp_path)], steps=3)
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert names == {"reals.png", "fakes_init.png", "fakes000000.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"images_training.png", "images_generated.png"}
    module = gan(kimg=2.012)
    module.images = 992
    fit(module, tmp_path, callbacks=[pictures(tmp_path, every_kimg=1.0)], steps=3)
    assert (tmp_path / "samples" / "fakes000001.png").exists()


def test_a_row_for_each_identity_with_visible_images_on_the_left(tmp_path: Path) -> None:
    module = gan(kimg=0.004)
    fit(module, tmp_path, callbacks=[pictures(tmp_path)])
    for name in ("reals.png", "fakes000000.png"):
        path = tmp_path / "samples" / name
        assert Image.open(path).size == (2 + 4 * CELL, 2 + 3 * CELL)
        for row in range(3):
            for column in (2, 3):
                grey = cell(path, row, column)
                assert (grey == grey[..., :1]).all()
        assert any((cell(path, row, 0) != cell(path, row, 0)[..., :1]).any() for row in range(3))
    datamodule = module.trainer.datamodule  # type: ignore[attr-defined]
    rows = rows_of_people(datamodule, people=3, samples=2, seed=0)
    labels = datamodule.dataset.source.labels
    assert len({int(labels[row[0]]) for row in rows}) == 3
    assert all(len(set(labels[row])) == 1 for row in rows)
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    c = datamodule.label_bank.labels[rows[1][0]].expand(2, -1)
    with torch.inference_mode():
        vis, _ = module(z, c)
    expected = ((as_stored(vis) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    found = np.stack([cell(tmp_path / "samples" / "fakes000000.png", 1, column) for column in range(2)])
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_pictures_of_a_generator_alone(tmp_path: Path) -> None:
    generator, datamodule = gan().average, pairs()
    figure = pictures(tmp_path).draw_generated(tmp_path / "one.png", generator, datamodule, "last")
    assert figure.title.startswith("Generated faces (last): visible light on the left")
    assert Image.open(figure.path).size == (2 + 4 * CELL, 2 + 3 * CELL)


def test_pictures_and_metrics_leave_the_training_as_it_is(tmp_path: Path) -> None:
    alone = gan(kimg=0.016)
    fit(alone, tmp_path / "alone")
    watched = gan(kimg=0.016)
    metrics = GenerativeMetricsCallback(every_kimg=0.004, images=8, at_start=True)
    fit(watched, tmp_path / "watched", callbacks=[pictures(tmp_path, every_kimg=0.004), metrics])
    expected, found = alone.state_dict(), watched.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
