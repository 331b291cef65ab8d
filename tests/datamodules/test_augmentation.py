from __future__ import annotations

import pytest
import torch

from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.sample import Sample

EVERYTHING = {"flip": 0.5, "crop": 0.5, "low_resolution": 0.5, "color_jitter": 0.5, "grayscale": 0.5, "blur": 0.5}


def _sample(batch: int = 16, size: int = 24) -> Sample:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.rand(batch, 3, size, size, generator=generator) * 2 - 1,
        "nir": torch.rand(batch, 1, size, size, generator=generator) * 2 - 1,
        "landmarks": torch.rand(batch, 5, 2, generator=generator) * size,
        "label": torch.arange(batch),
    }


def test_a_pure_function_of_seed_step_and_rank() -> None:
    augmentation = FaceAugmentation(**EVERYTHING)
    results = []
    for seed, step, rank in [(1, 2, 3), (1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0)]:
        torch.rand(len(results))  # another state of the global generator each time
        results.append(augmentation(_sample(), seed=seed, step=step, rank=rank)["image"])
    assert torch.equal(results[0], results[1])
    assert not any(torch.equal(results[0], other) for other in results[2:])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    FaceAugmentation(**EVERYTHING)(_sample(), seed=0, step=0)
    assert torch.equal(torch.rand(3), expected)


def test_range_shape_and_untouched_input() -> None:
    sample = _sample()
    before = {name: value.clone() for name, value in sample.items()}
    result = FaceAugmentation(**dict.fromkeys(EVERYTHING, 1.0))(sample, seed=0, step=0)
    assert all(torch.equal(sample[name], before[name]) for name in before)
    assert result["image"].shape == sample["image"].shape
    assert result["image"].abs().max() <= 1
    assert torch.equal(result["label"], sample["label"])


def test_mirroring_moves_infrared_and_landmarks_along() -> None:
    sample = _sample()
    result = FaceAugmentation(flip=1.0)(sample, seed=0, step=0)
    assert torch.equal(result["image"], sample["image"].flip(-1))
    assert torch.equal(result["nir"], sample["nir"].flip(-1))
    assert torch.equal(result["landmarks"][:, 0, 0], 23 - sample["landmarks"][:, 1, 0])
    assert torch.equal(result["landmarks"][:, 3, 1], sample["landmarks"][:, 4, 1])
    again = FaceAugmentation(flip=1.0)(result, seed=0, step=1)
    assert torch.allclose(again["landmarks"], sample["landmarks"], atol=1e-5)


def test_half_of_the_images_are_mirrored() -> None:
    sample = _sample(batch=1000, size=4)
    result = FaceAugmentation()(sample, seed=0, step=0)
    mirrored = (result["image"] == sample["image"].flip(-1)).flatten(1).all(1)
    kept = (result["image"] == sample["image"]).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 430 < mirrored.sum() < 570


def test_crop_blackens_all_but_a_box() -> None:
    sample = _sample(batch=200, size=32)
    result = FaceAugmentation(flip=0.0, crop=1.0)(sample, seed=0, step=0)
    kept = (result["image"] == sample["image"]).all(1)
    assert (result["image"].movedim(1, -1)[~kept] == -1).all()
    assert torch.equal(kept[:, None], result["nir"] == sample["nir"])
    area = kept.flatten(1).float().mean(1)
    assert (area > 0.15).all()
    boxes = kept.any(1).sum(1) * kept.any(2).sum(1)
    assert torch.equal(boxes, kept.sum((1, 2)))


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_each_step_changes_images_only_when_asked(name: str) -> None:
    sample = _sample()
    off = dict.fromkeys(EVERYTHING, 0.0)
    assert torch.equal(FaceAugmentation(**off)(sample, seed=0, step=0)["image"], sample["image"])
    assert not torch.equal(FaceAugmentation(**off | {name: 1.0})(sample, seed=0, step=0)["image"], sample["image"])


def test_views_are_chosen_as_images_are_mirrored() -> None:
    sample = _sample(64)
    features = torch.stack([sample["image"], sample["image"].flip(-1)], 1).flatten(2)
    for flip in (0.0, 0.3, 1.0):
        augmentation = FaceAugmentation(flip=flip)
        mirrored = augmentation(sample, seed=1, step=2, rank=3)["image"]
        torch.manual_seed(5)
        chosen = augmentation.choose_views({"feature": features, "label": sample["label"]}, seed=1, step=2, rank=3)
        assert torch.equal(chosen["feature"], mirrored.flatten(1))
        assert torch.equal(chosen["label"], sample["label"])
        state = torch.random.get_rng_state()
        torch.manual_seed(5)
        assert torch.equal(torch.random.get_rng_state(), state)


def test_the_names_of_its_steps() -> None:
    assert FaceAugmentation(flip=0.5).steps == ()
    assert FaceAugmentation(**EVERYTHING).steps == ("crop", "low_resolution", "color_jitter", "grayscale", "blur")
