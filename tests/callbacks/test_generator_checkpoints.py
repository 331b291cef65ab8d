from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from support_gan import fit, gan

from src.callbacks.generator_checkpoints import BestGenerator, GeneratorSnapshots
from src.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")

MONITOR = "Metrics/fid@toy"


class Scripted(L.Callback):
    """Measures after every iteration what is written down here."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *arguments: Any) -> None:
        trainer.callback_metrics[MONITOR] = torch.tensor(self.values[trainer.global_step - 1])


def images(path: Path) -> int:
    return torch.load(path, weights_only=True)["progress"]["images"]


def test_one_at_every_interval(tmp_path: Path) -> None:
    module = gan(kimg=1.020)
    module.images = 980
    fit(module, tmp_path, callbacks=[GeneratorSnapshots(tmp_path, every_kimg=1.0)])
    assert [path.name for path in tmp_path.glob("kimg*")] == ["kimg000001.ckpt"]
    assert images(tmp_path / "kimg000001.ckpt") == 1000


def test_intervals_whose_names_would_be_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"every_kimg: expected null or at least 1, found 0\.5"):
        GeneratorSnapshots(tmp_path, every_kimg=0.5)


def test_none_by_default(tmp_path: Path) -> None:
    fit(gan(kimg=0.008), tmp_path, callbacks=[GeneratorSnapshots(tmp_path), BestGenerator(tmp_path)])
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["last.ckpt"]


@pytest.mark.parametrize(("values", "best"), [([3, 2, 5, 2], 2), ([float("nan"), 7, 7, 8], 2), ([4, 3, 2, 1], 4)])
def test_the_lowest_is_kept(tmp_path: Path, values: list[float], best: int) -> None:
    fit(gan(kimg=0.016), tmp_path, callbacks=[Scripted(*values), BestGenerator(tmp_path, MONITOR)])
    assert images(tmp_path / "best.ckpt") == 4 * best


def test_a_continued_training_knows_the_lowest(tmp_path: Path) -> None:
    fit(gan(kimg=0.008), tmp_path, callbacks=[Scripted(3, 2), BestGenerator(tmp_path, MONITOR)])
    continued = [Scripted(3, 2, 2.5, 2.5), BestGenerator(tmp_path, MONITOR)]
    fit(gan(kimg=0.016), tmp_path, checkpoint=tmp_path / "last.ckpt", callbacks=continued)
    assert images(tmp_path / "last.ckpt") == 16
    assert images(tmp_path / "best.ckpt") == 8


def test_a_training_goes_on_from_the_best(tmp_path: Path) -> None:
    fit(gan(kimg=0.016), tmp_path / "whole", callbacks=[Scripted(4, 3, 5, 5), BestGenerator(tmp_path, MONITOR)])
    module = gan(kimg=0.016)
    fit(module, tmp_path / "again", checkpoint=tmp_path / "best.ckpt")
    expected = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, expected[name]) for name, value in module.state_dict().items())
