from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from memory_source import MemorySource

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.backends import backend as backend_module
from src.datamodules.backends.backend import make_backend
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.sample import Sample
from src.errors import UserError

MakeImage = Callable[..., bytes]
pytest.importorskip("nvidia.dali")


def _rows(count: int, batch: int) -> Iterator[np.ndarray]:
    return iter(np.split(np.arange(count), range(batch, count, batch)))


def _read(name: str, dataset: FaceDataset, count: int, batch: int = 4, threads: int = 2) -> list[Sample]:
    backend = make_backend(name, dataset, batch_size=batch, threads=threads)
    batches = list(backend.read(_rows(count, batch)))
    backend.close()
    return batches


def _assert_equal(first: list[Sample], second: list[Sample], tolerance: int = 0) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert list(one) == list(other)
        assert one["key"] == other["key"]
        for name in set(one) - {"key"}:
            a, b = one[name], other[name]  # type: ignore[literal-required]
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            limit = tolerance if name in ("image", "nir") else 0
            assert (a.double() - b.double()).abs().max() <= limit, name


@pytest.fixture
def source(make_image: MakeImage) -> MemorySource:
    """Ten pairs of images, sizes differ from row to row, some are PNG."""
    kinds = ["JPEG", "PNG", "JPEG"]
    sizes = [(64 + 3 * i, 60 + 5 * (i % 4)) for i in range(10)]
    return MemorySource(
        {
            "image": [make_image(i, *size, kind=kinds[i % 3]) for i, size in enumerate(sizes)],
            "nir": [make_image(i, *size, grey=True) for i, size in enumerate(sizes)],
        },
        [i // 2 for i in range(10)],
        attributes=[i % 2 for i in range(10)],
        landmarks=np.stack([ARCFACE_TEMPLATE.numpy() * (0.4 + 0.02 * i) + [i, 3] for i in range(10)]),
        features=np.arange(40).reshape(10, 4),
    )


def test_images_of_the_right_size_are_equal_to_the_last_bit(make_image: MakeImage) -> None:
    images = [make_image(i, 48, 48) for i in range(10)]
    source = MemorySource(
        {"image": images, "nir": [make_image(i, 48, 48, grey=True) for i in range(10)]}, resolution=48
    )
    dataset = FaceDataset(source, size=48, fields=("image", "nir", "label"))
    _assert_equal(_read("cpu", dataset, 10), _read("dali", dataset, 10))


@pytest.mark.parametrize("align", [False, True])
def test_cropped_and_aligned_images_are_equal_up_to_rounding(source: MemorySource, align: bool) -> None:
    dataset = FaceDataset(
        source, size=40, fields=("image", "nir", "label", "attribute", "feature", "landmarks"), align=align
    )
    _assert_equal(_read("cpu", dataset, 10), _read("dali", dataset, 10), tolerance=2)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_change_nothing(source: MemorySource, threads: int) -> None:
    dataset = FaceDataset(source, size=40)
    for name in ("cpu", "dali"):
        _assert_equal(_read(name, dataset, 10, threads=threads), _read(name, dataset, 10, batch=4, threads=2))


def test_a_colour_image_in_infrared_and_a_grey_one_in_colour(make_image: MakeImage) -> None:
    images = [make_image(i, 32, 32, grey=i % 2 == 0) for i in range(4)]
    dataset = FaceDataset(
        MemorySource({"image": images, "nir": images}, resolution=32), size=32, fields=("image", "nir")
    )
    _assert_equal(_read("cpu", dataset, 4), _read("dali", dataset, 4), tolerance=1)


@pytest.mark.parametrize("name", ["cpu", "dali"])
def test_unreadable_images_are_left_out(make_image: MakeImage, name: str) -> None:
    contents: list[bytes | None] = [make_image(i, 32, 32) for i in range(24)]
    whole = contents[9]
    assert whole is not None
    contents[2], contents[9] = None, whole[:300] + b"\xff\xd9"  # the second one has a good header only
    contents[10] = b"no image"
    contents[16:20] = [None] * 4
    dataset = FaceDataset(MemorySource({"image": contents}, range(24), resolution=32), size=32)
    batches = _read(name, dataset, 24)
    assert [batch["label"].tolist() if batch else [] for batch in batches] == [
        [0, 1, 3], [4, 5, 6, 7], [8, 11], [12, 13, 14, 15], [], [20, 21, 22, 23],
    ]  # fmt: skip
    assert sorted(dataset.unreadable) == [2, 9, 10, 16, 17, 18, 19]
    good = FaceDataset(MemorySource({"image": [make_image(i, 32, 32) for i in range(24)]}, resolution=32), size=32)
    assert torch.equal(batches[3]["image"], good.read(range(12, 16))["image"])


@pytest.mark.parametrize("name", ["cpu", "dali"])
def test_fields_without_an_image(source: MemorySource, name: str) -> None:
    batches = _read(name, FaceDataset(source, fields=("label", "feature")), 10)
    assert [set(batch) for batch in batches] == [{"key", "label", "feature"}] * 3


def _tasks() -> int:
    return len(os.listdir("/proc/self/task"))


def _settles_at(tasks: int) -> bool:
    """Helper threads of OpenMP end a moment after the thread they served."""
    end = time.monotonic() + 5
    while _tasks() > tasks and time.monotonic() < end:
        time.sleep(0.01)
    return _tasks() <= tasks


@pytest.mark.parametrize("name", ["cpu", "dali"])
def test_no_thread_is_left_when_a_reader_is_closed(source: MemorySource, name: str) -> None:
    dataset = FaceDataset(source, size=40)
    _read("dali", dataset, 10)  # threads that DALI keeps for the process
    gc.collect()
    before = _tasks()
    backend = make_backend(name, dataset, batch_size=2, threads=2)
    for _ in range(3):
        batches = backend.read(_rows(10, 2))
        next(iter(batches))
        assert _tasks() > before
        batches.close()  # type: ignore[attr-defined]
        backend.close()
        assert _settles_at(before)


@pytest.mark.parametrize("name", ["cpu", "dali"])
def test_a_stream_left_early_does_not_show_in_the_next(source: MemorySource, name: str) -> None:
    dataset = FaceDataset(source, size=40)
    backend = make_backend(name, dataset, batch_size=2, threads=2)
    expected = _read(name, dataset, 10, batch=2)
    for taken in (1, 3, 5):
        batches = backend.read(_rows(10, 2))
        _assert_equal([next(batches) for _ in range(taken)], expected[:taken])
        batches.close()  # type: ignore[attr-defined]
    _assert_equal(list(backend.read(_rows(10, 2))), expected)
    backend.close()


def test_auto_explains_its_choice(source: MemorySource, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    dataset = FaceDataset(source, size=40)
    made = make_backend("auto", dataset, batch_size=2, threads=2, device=torch.device("cpu"))
    assert type(made).__name__ == "CpuBackend"
    made = make_backend("auto", dataset, batch_size=2, threads=2, device=torch.device("cuda", 0))
    assert type(made).__name__ == "DaliBackend"
    assert [record.message for record in caplog.records] == [
        "datamodule.backend=auto: cpu, because on cpu libjpeg-turbo in threads is faster than DALI",
        "datamodule.backend=auto: dali, because it decodes on cuda:0",
    ]


def test_without_dali(source: MemorySource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None)
    caplog.set_level(logging.INFO)
    dataset = FaceDataset(source, size=40)
    with pytest.raises(UserError, match="DALI is not installed; pip install nvidia-dali-cuda130"):
        make_backend("dali", dataset, batch_size=2, threads=2)
    make_backend("auto", dataset, batch_size=2, threads=2, device=torch.device("cuda", 0))
    assert "cpu, because NVIDIA DALI is not installed" in caplog.text
    with pytest.raises(UserError, match=r"datamodule\.backend: expected auto, cpu or dali, found 'gpu'"):
        make_backend("gpu", dataset, batch_size=2, threads=2)
