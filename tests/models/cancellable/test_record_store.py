from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.models.cancellable import durable, record_store
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.record_store import StoreIndex
from src.models.cancellable.template_file import Records
from src.models.cancellable.template_store import TemplateStore

PARAMETERS = Parameters(network="", m=64, q=2, bits=1)


def make(folder: Path) -> TemplateStore:
    folder.mkdir(parents=True, exist_ok=True)
    store = TemplateStore(folder, PARAMETERS, nullcontext)
    store.create("gallery")
    return store


def records(store: TemplateStore, count: int) -> Records:
    """Records of new versions, each of which is its pid and its row too."""
    versions = store.unused_versions(count)
    return Records(versions.astype(np.int64), versions, versions.astype(np.int64)[:, None])


def content(store: TemplateStore) -> list[int]:
    held = [
        (p, v, r)
        for part in store.records()
        for p, v, r in zip(part.pids, part.versions, part.rows[np.arange(len(part))][:, 0], strict=True)
    ]
    assert all(pid == version == row for pid, version, row in held)
    return sorted(int(pid) for pid, _, _ in held)


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 9), st.sets(st.integers(1, 60), max_size=8)), min_size=1, max_size=12))
def test_a_store_is_a_set(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, set[int]]]) -> None:
    store, expected, new = make(tmp_path_factory.mktemp("store")), set(), 1
    for count, gone in steps:
        masks = [np.isin(part.versions, list(gone)) for part in store.records()]
        if count:
            store.add(records(store, count), masks)
        else:
            store.commit(masks)
        expected = expected - gone | set(range(new, new + count))
        new += count
        assert content(store) == sorted(expected)
        sizes = [segment.records for segment in store.index().segments]
        assert sizes == sorted(sizes, reverse=True)
        assert store.index().records == len(expected)
        assert store.leftovers() == []


def test_a_record_is_rewritten_a_logarithmic_number_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, written = make(tmp_path), []
    write = record_store.write_records
    monkeypatch.setattr(record_store, "write_records", lambda *given: (written.append(len(given[2])), write(*given))[1])
    monkeypatch.setattr(durable.os, "fsync", lambda descriptor: None)
    batches = 128
    for _ in range(batches):
        store.add(records(store, 3))
    assert content(store) == list(range(1, 3 * batches + 1))
    assert sum(written) <= 3 * batches * (1 + math.log(batches, 1.5))
    assert len(store.index().segments) <= 1 + math.log2(batches)


def test_a_replaced_file_stays_until_readers_have_left(tmp_path: Path) -> None:
    store, seen = make(tmp_path), []
    store.add(records(store, 5))

    class Alone:
        def __enter__(self) -> None:
            seen.append([path.name for path in sorted(tmp_path.glob("*.drht"))])

        def __exit__(self, *error: object) -> None:
            seen.append([path.name for path in sorted(tmp_path.glob("*.drht"))])

    store._alone = Alone
    store.add(records(store, 5))
    assert seen == [["00000001.drht", "00000002.drht"], ["00000002.drht"]]


def test_renewals_are_counted(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.add(records(store, 5))
    store.add(records(store, 2), [np.arange(5) < 2])
    store.commit([np.arange(5) < 1])
    index = store.index()
    assert (index.renewals, index.records, index.next_version) == (2, 4, 8)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}'])
def test_refuses_a_damaged_index(tmp_path: Path, text: str) -> None:
    make(tmp_path)
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(UserError, match=r"index\.json: .*restore the folder from a copy"):
        StoreIndex.read(tmp_path)


def test_refuses_a_missing_index(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        StoreIndex.read(tmp_path)
