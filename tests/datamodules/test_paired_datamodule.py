from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.types import STEP_OUTPUT
from support import faces_config
from support_arcbifacegan import GOLDEN
from support_pairs import write_pairs
from support_source import ComputedSource, picture

from src.apps.overrides import check
from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.decode import decode
from src.datamodules.identity_features import write_identity_features
from src.datamodules.paired_datamodule import PairedFacesDataModule, check_images
from src.datamodules.procfaces.source import procedural_faces, random_identity_features
from src.datamodules.sample import Sample, to_float_images
from src.datamodules.sources.paired_folders import PairedFolders
from src.errors import UserError

STEMS = [f"{identity}_{sample}" for identity in range(1, 6) for sample in range(2)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_pairs(tmp_path_factory.mktemp("pairs"), STEMS)
    features = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    write_identity_features(root / "identity_features.json", [f"{stem}.jpg" for stem in STEMS], features)
    return root


def _datamodule(root: Path, **options: Any) -> PairedFacesDataModule:
    overrides = ["experiment=arcface", "datamodule=vis_nir", "datamodule.size=32", f"datamodule.source.root={root}"]
    return instantiate(check("train", overrides).datamodule, **options)


class _Collect(L.LightningModule):
    """Keeps every batch that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.batches: list[Sample] = []

    def training_step(self, batch: Sample, batch_idx: int) -> STEP_OUTPUT:
        self.batches.append(batch)
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _train(datamodule: PairedFacesDataModule, epochs: int) -> list[Sample]:
    module = _Collect()
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=datamodule)
    return module.batches


@pytest.mark.filterwarnings("ignore")
def test_both_images_are_mirrored_together_and_the_feature_stays(pairs: Path) -> None:
    datamodule = _datamodule(pairs, batch_size=5, augmentation=FaceAugmentation(flip=0.5))
    originals = to_float_images(datamodule.dataset.read(range(10)))
    row_of = {key: row for row, key in enumerate(originals["key"])}
    mirrored = []
    for batch in _train(datamodule, epochs=10):
        assert batch["image"].shape == (5, 3, 32, 32)
        assert batch["nir"].shape == (5, 1, 32, 32)
        for position, key in enumerate(batch["key"]):
            row = row_of[key]
            mirrored.append(not torch.equal(batch["image"][position], originals["image"][row]))
            for name in ("image", "nir"):
                expected = originals[name][row]
                assert torch.equal(batch[name][position], expected.flip(-1) if mirrored[-1] else expected)
            assert torch.equal(batch["feature"][position], datamodule.label_bank.labels[row])
    assert len(mirrored) == 100
    assert 30 < sum(mirrored) < 70


def test_pairs_belong_together(pairs: Path) -> None:
    datamodule = _datamodule(pairs)
    datamodule.prepare_data()
    datamodule.setup("fit")
    batch = datamodule.dataset.read([3])
    assert batch["key"] == ["VIS/2_1.jpg"]
    assert torch.equal(batch["nir"][0], decode(picture(7, 32, 32, grey=True, kind="PNG"), grey=True))
    assert torch.equal(batch["feature"][0], datamodule.label_bank.labels[3])


def test_subset_is_that_of_stylegan2_ada_and_the_bank_goes_with_it(pairs: Path) -> None:
    datamodule = _datamodule(pairs, subset=4)
    rows = GOLDEN["dataset.subset_n10_max4_seed0"]
    assert datamodule.num_samples == 4
    assert datamodule.dataset.read(range(4))["key"] == [f"VIS/{STEMS[row]}.jpg" for row in rows]
    assert torch.equal(datamodule.label_bank.labels, _datamodule(pairs).label_bank.labels[rows])


def test_without_conditioning_no_features_are_needed(pairs: Path) -> None:
    source = partial(PairedFolders, pairs)
    with pytest.raises(UserError, match="do not all have the field 'feature'"):
        PairedFacesDataModule(source, size=32).prepare_data()
    datamodule = PairedFacesDataModule(source, size=32, fields=("image", "nir"))
    datamodule.prepare_data()
    assert set(datamodule.dataset.read([0])) == {"key", "image", "nir"}


def test_images_of_another_size_are_refused_before_training(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, STEMS)
    (root / "NIR/3_1.png").write_bytes(picture(0, 32, 30, grey=True, kind="PNG"))
    (root / "VIS/4_0.jpg").write_bytes(b"no image")
    datamodule = PairedFacesDataModule(partial(PairedFolders, root), size=32, fields=("image", "nir"))
    with pytest.raises(UserError) as error:
        datamodule.prepare_data()
    for text in (
        "2 of 10 samples do not consist of readable images of 32 x 32 pixels",
        "VIS/3_1.jpg (nir): 32 x 30 pixels",
        "VIS/4_0.jpg (image): not a readable JPEG or PNG",
        f"privface prepare source=vis_nir source.root={root} out=SHARDS size=32",
    ):
        assert text in str(error.value)


def test_colours_of_infrared_and_greys_of_visible_files_are_converted(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, ["1_1", "1_2"])
    (root / "NIR/1_1.png").write_bytes(picture(0, 32, 32, kind="PNG"))
    (root / "VIS/1_1.jpg").write_bytes(picture(0, 32, 32, grey=True))
    datamodule = PairedFacesDataModule(partial(PairedFolders, root), size=32, fields=("image", "nir"))
    datamodule.prepare_data()
    batch = datamodule.dataset.read([0])
    assert batch["image"].shape == (1, 32, 32, 3)
    assert batch["nir"].shape == (1, 32, 32, 1)


def test_shards_that_tell_their_size_are_believed() -> None:
    source = ComputedSource(images=3, infrared=True, bad=[0, 1, 2])
    source.resolution = 64
    check_images(source, ("image", "nir"), 64)
    with pytest.raises(UserError, match="burnt"):
        check_images(source, ("image", "nir"), 32)


def test_bad_options(pairs: Path) -> None:
    source = partial(PairedFolders, pairs)
    with pytest.raises(UserError, match="subset: expected null or at least 1, found 0"):
        PairedFacesDataModule(source, size=32, subset=0)
    with pytest.raises(UserError, match="align them while they are packed"):
        PairedFacesDataModule(source, size=32, align=True)


@pytest.mark.slow
def test_procedural_faces_with_features(tmp_path: Path) -> None:
    faces = faces_config("ci32", name="tiny", identities=3, per_identity=2, size=16, benchmarks=[])
    overrides = ["experiment=arcface", "datamodule=vis_nir_procfaces", f"paths.data={tmp_path}", "datamodule.size=16"]
    datamodule = instantiate(
        check("train", overrides).datamodule, source=partial(procedural_faces, tmp_path, faces, features="random")
    )
    datamodule.prepare_data()
    sample = datamodule.example_batch()
    assert sample["image"].shape == (6, 3, 16, 16)
    assert sample["nir"].shape == (6, 1, 16, 16)
    expected = random_identity_features(3, 512, faces.seed)
    assert np.array_equal(sample["feature"].numpy(), expected[datamodule.dataset.source.labels])
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-6)
    names = [f"{person:06d}_{shot:04d}" for person in range(3) for shot in range(2)]
    write_identity_features(tmp_path / "f.json", names, np.eye(6, dtype=np.float32))
    source = procedural_faces(tmp_path, faces, features=tmp_path / "f.json")
    assert [names[int(source.feature(row).argmax())] for row in range(6)] == [source.key(row) for row in range(6)]
    assert not procedural_faces(tmp_path, faces).has_features
