from __future__ import annotations

import struct
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from src.errors import UserError
from src.models.cancellable.identifier_store import IdentifierStore, _Derived
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.template_file import Records

PARAMETERS = Parameters(network="", m=130, q=8, bits=3)


@pytest.fixture(params=["csprng", "prf"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> IdentifierStore:
    return make(tmp_path, request.param)


def make(folder: Path, kind: str, parameters: Parameters = PARAMETERS) -> IdentifierStore:
    folder.chmod(0o700)
    IdentifierStore.prepare(folder, kind)
    store = IdentifierStore(folder, parameters, nullcontext)
    store.create("gallery")
    return store


def test_issued_identifiers_are_those_that_are_found(store: IdentifierStore) -> None:
    pids = np.array([9, 2, 9, 5])
    issued = store.issue(pids)
    more = store.issue(np.array([1, 1]))
    assert issued.versions.tolist() == [1, 2, 3, 4]
    assert more.versions.tolist() == [5, 6]
    held = store.identifiers()
    assert held.pids.tolist() == [1, 1, 2, 5, 9, 9]
    assert held.versions.tolist() == [5, 6, 2, 4, 1, 3]
    rows = issued.rows[np.arange(4)]
    np.testing.assert_array_equal(held.rows[np.arange(2, 6)], rows[[1, 3, 0, 2]])
    assert len({row.tobytes() for row in rows}) == 4
    assert not (rows & ~PARAMETERS.used_bits).any()


def test_bits_are_uniform(store: IdentifierStore) -> None:
    rows = store.issue(np.arange(1, 3001)).rows[np.arange(3000)]
    bits = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little")
    used = np.unpackbits(PARAMETERS.used_bits.view(np.uint8), bitorder="little").astype(bool)
    assert used.sum() == 390
    ones = bits[:, used].sum(axis=0)
    # Each column is binomial; the sum of its squared deviations is chi-square with 390 degrees of freedom.
    assert abs(((ones - 1500) ** 2 / 750).sum() - 390) < 5 * (2 * 390) ** 0.5
    octets = np.bincount(rows[:, 0].copy().view(np.uint8), minlength=256)
    assert ((octets - octets.mean()) ** 2 / octets.mean()).sum() < 255 + 5 * (2 * 255) ** 0.5


def test_derived_identifiers_are_the_key_stream_of_counter_mode(tmp_path: Path) -> None:
    store = make(tmp_path, "prf")
    issued = store.issue(np.array([7, 1 << 62]))
    (starts,) = (part.rows[np.arange(2)] for part in store.records())
    key = HKDF(SHA256(), length=32, salt=None, info=b"drh/id/v1").derive(bytes.fromhex(store.secrets.master_key))
    for (low, high), row in zip(starts.view(np.uint64).tolist(), issued.rows[np.arange(2)], strict=True):
        # Counter mode would count the last bytes as big-endian, so that every block is started anew.
        counters = [struct.pack("<QQ", (low + number) % (1 << 64), high) for number in range(5)]
        blocks = [Cipher(AES(key), CTR(counter)) for counter in counters]
        stream = b"".join(block.encryptor().update(bytes(16)) for block in blocks)[: 8 * PARAMETERS.words]
        assert row.tolist() == (np.frombuffer(stream, np.int64) & PARAMETERS.used_bits).tolist()
    assert b"".join(path.read_bytes() for path in tmp_path.glob("*.drhi")).count(row.tobytes()) == 0


def test_a_restored_copy_does_not_issue_an_identifier_again(store: IdentifierStore) -> None:
    copy = {path: path.read_bytes() for path in store.folder.iterdir()}
    first = store.issue(np.array([3, 4]))
    rows = first.rows[np.arange(2)].copy()
    for path in store.folder.iterdir():
        path.unlink()
    for path, content in copy.items():
        path.write_bytes(content)
        path.chmod(0o600)
    again = store.issue(np.array([3, 4]))
    assert again.versions.tolist() == first.versions.tolist()
    assert not (again.rows[np.arange(2)] == rows).all(axis=1).any()


def test_without_its_record_an_identifier_is_lost_to_the_master_key_too(tmp_path: Path) -> None:
    store = make(tmp_path, "prf")
    store.issue(np.array([3, 4]))
    (kept,) = (part.rows[np.array([1])].tobytes() for part in store.records())
    (gone,) = (part.rows[np.array([0])].tobytes() for part in store.records())
    store.commit([np.array([True, False])])
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert kept in content
    assert gone not in content


def test_the_counter_of_a_derived_identifier_runs_over() -> None:
    used, first = np.full(6, -1, np.int64), np.array([0])
    last_of_all = _Derived(bytes(32), np.array([[-1, 5]]), used)[first]
    np.testing.assert_array_equal(last_of_all[:, 2:], _Derived(bytes(32), np.array([[0, 5]]), used)[first][:, :4])


def test_refuses_to_use_a_version_again(store: IdentifierStore) -> None:
    issued = store.issue(np.array([3, 4]))
    store.commit([np.ones(2, bool)])
    assert len(store.identifiers()) == 0
    with pytest.raises(UserError, match="version 2 was used before"):
        store.add(Records(np.array([3]), issued.versions[1:], issued.rows[np.array([0])]))
    assert store.issue(np.array([3])).versions.tolist() == [3]


def test_only_its_owner_may_read_it(store: IdentifierStore) -> None:
    store.issue(np.array([3, 4]))
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    assert store.folder.stat().st_mode & 0o777 == 0o700
    for name in ("secrets.json", "index.json", "00000001.drhi"):
        (store.folder / name).chmod(0o640)
        with pytest.raises(UserError, match=rf"{name}: others than its owner may read it"):
            IdentifierStore(store.folder, PARAMETERS, nullcontext)
        (store.folder / name).chmod(0o600)
    store.folder.chmod(0o770)
    with pytest.raises(UserError, match="others than its owner may write to it"):
        IdentifierStore(store.folder, PARAMETERS, nullcontext)


def test_damaged_secrets_are_not_quoted(store: IdentifierStore) -> None:
    path = store.folder / "secrets.json"
    secret = store.secrets.lut_seed
    for content in (f'{{"schema": 1, "lut_seed": "{secret}"', f'{{"schema": 1, "lut_seed": {secret[:5]!r}}}', "{}"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"secrets\.json: not the secrets") as caught:
            IdentifierStore(store.folder, PARAMETERS, nullcontext)
        assert secret[:5] not in str(caught.value)
        assert caught.value.__suppress_context__
    path.unlink()
    with pytest.raises(UserError, match=r"holds no secrets\.json: not a folder of identifiers"):
        IdentifierStore(store.folder, PARAMETERS, nullcontext)
