from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from src.eval.embedding_cache import EmbeddingCache

ORIGIN = {"network": "a", "images": "b"}
TENSORS = {"original": torch.arange(6.0).view(2, 3), "flipped": torch.ones(2, 3)}


def store_forever(folder: Path, started: multiprocessing.synchronize.Event) -> None:
    big = {"original": torch.ones(4_000_000)}
    while True:
        EmbeddingCache(folder).store(ORIGIN, big)
        started.set()


def test_what_is_stored_is_found_by_its_origin(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "new")
    assert cache.load(ORIGIN) is None
    cache.store(ORIGIN, TENSORS)
    found = cache.load(dict(reversed(ORIGIN.items())))
    assert found is not None
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in TENSORS.items()
    }
    assert cache.load(ORIGIN | {"precision": "16"}) is None
    assert cache.load(ORIGIN | {"network": "c"}) is None


def test_a_damaged_file_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.store(ORIGIN, TENSORS)
    path = cache.path(ORIGIN)
    path.write_bytes(path.read_bytes()[:-5])
    assert cache.load(ORIGIN) is None
    assert "is damaged" in caplog.text
    cache.store(ORIGIN, TENSORS)
    assert cache.load(ORIGIN) is not None


def test_what_cannot_be_stored_is_only_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        EmbeddingCache(tmp_path / "file").store(ORIGIN, TENSORS)
    assert "embeddings were not kept" in caplog.text


def test_a_killed_writer_harms_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    writers = [context.Process(target=store_forever, args=(tmp_path, started)) for _ in range(2)]
    for writer in writers:
        writer.start()
    assert started.wait(60)
    for _ in range(20):  # two writers at once, and readers always see a whole file
        found = EmbeddingCache(tmp_path).load(ORIGIN)
        assert found is not None
        assert bool((found["original"] == 1).all())
        time.sleep(0.01)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    found = EmbeddingCache(tmp_path).load(ORIGIN)
    assert found is not None
    assert len(found["original"]) == 4_000_000
