from __future__ import annotations

import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support_gallery import PARAMETERS, random_codes

from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.parameters import Parameters
from src.ops.code_bits import pack_planes, unpack_planes
from src.ops.hamming import hamming_topk

Folders = tuple[Path, Path]


def near(codes: torch.Tensor, changed: int, seed: int = 1) -> torch.Tensor:
    """Codes of which the first ``changed`` symbols are other ones."""
    probes = codes.clone()
    probes[:, :changed] = (probes[:, :changed] + 1 + random_codes(len(codes), seed=seed)[:, :changed] % 7) % 8
    return probes


def test_scores_are_exactly_those_without_a_cipher(gallery: CancellableGallery) -> None:
    codes, probes = random_codes(60), near(random_codes(20), 40)
    pids = torch.tensor([pid for part in codes.split(7) for pid in gallery.enrol(part)])
    order = pids.argsort()
    table = gallery._table
    plain, queries = (pack_planes(table.encode(values)) for values in (codes[order], probes))
    for metric, total in (("symbols", 100), ("bits", 300)):
        expected = hamming_topk(plain, queries, 5, metric=metric, planes=3)
        matches = gallery.identify(probes, 5, 0.0, metric)
        assert torch.equal(matches.distances, expected.distances)
        assert torch.equal(matches.pids, pids[order][expected.ids])
        assert torch.equal(matches.scores, ((total - expected.distances.double()) / total).float())
    symbols = gallery.identify(probes, 1)
    assert (symbols.distances[:, 0] == (codes[:20] != probes).sum(1)).all()
    assert symbols.skipped == 0


def test_renewal_changes_everything_but_the_scores(gallery: CancellableGallery) -> None:
    codes = random_codes(30)
    pids = gallery.enrol(codes)
    gallery.enrol(near(codes[:4], 10), pids[:4])
    probes = near(codes, 30)
    before, templates = gallery.identify(probes, 4), stored(gallery)
    assert gallery.renew(pids[:10]) == 14
    assert gallery.renew() == 34
    after = gallery.identify(probes, 4)
    assert torch.equal(before.pids, after.pids)
    assert torch.equal(before.scores, after.scores)
    assert gallery.stats().renewals == 48
    assert not templates & stored(gallery)
    assert gallery.audit().ok


def test_a_stale_template_under_a_new_identifier_is_an_impostor(folders: Folders) -> None:
    parameters = replace(PARAMETERS, m=512)
    gallery = CancellableGallery.create(*folders, parameters)
    codes = random_codes(20, parameters)
    gallery.enrol(codes)
    stale = gallery._templates.records()[0]
    stale_rows = stale.rows[np.arange(20)].copy()
    gallery.renew()
    new = gallery._identifiers.identifiers()
    words = torch.from_numpy(stale_rows ^ new.rows[np.arange(20)])
    decoded = unpack_planes(words, 512, 3)
    bits = gallery._table.encode(codes)
    order = [int((stale.pids == pid).argmax()) for pid in stale.pids]
    share = (decoded[order] == bits[np.argsort(np.argsort(stale.pids))]).double().mean((1, 2))
    assert (share - 0.5).abs().max() < 0.08


def test_revoked_people_are_gone_for_good(gallery: CancellableGallery, folders: Folders) -> None:
    codes = random_codes(40)
    pids = gallery.enrol(codes)
    identifiers = gallery._identifiers.identifiers()
    gone = np.isin(identifiers.pids, pids[:15])
    secrets = [row.tobytes() for row in identifiers.rows[np.flatnonzero(gone)]]
    assert gallery.revoke(pids[:15]) == 15
    assert gallery.pids == sorted(pids[15:])
    assert (gallery.identify(codes[:15], 1, 0.5).pids == -1).all()
    assert gallery.identify(codes[15:], 1).pids[:, 0].tolist() == pids[15:]
    content = b"".join(path.read_bytes() for path in folders[1].iterdir())
    assert not any(secret in content for secret in secrets)
    with pytest.raises(UserError, match="1 of the pids are nobody's"):
        gallery.revoke([pids[20], pids[0]])
    with pytest.raises(UserError, match="nobody's"):
        gallery.renew([pids[20], pids[0]])
    assert len(gallery) == 25
    assert gallery.revoke(pids[15:]) == 25
    assert gallery.pids == []
    assert gallery.audit().ok


def test_a_person_appears_once_by_the_nearest_of_his_templates(gallery: CancellableGallery) -> None:
    codes = random_codes(5)
    pids = gallery.enrol(codes)
    for changed in (20, 10, 30):
        gallery.enrol(near(codes, changed), pids)
    matches = gallery.identify(near(codes, 10), 5, 0.0)
    assert (matches.distances[:, 0] == 0).all()
    assert matches.pids[:, 0].tolist() == pids
    assert all(sorted(row) == sorted(pids) for row in matches.pids.tolist())
    assert gallery.stats().templates == 20
    assert gallery.stats().people == len(gallery) == 5


def test_nobody_fills_the_places_that_are_left(gallery: CancellableGallery) -> None:
    codes = random_codes(3)
    empty = gallery.identify(codes, 2)
    assert empty.pids.tolist() == [[-1, -1]] * 3
    assert empty.scores.tolist() == [[0.0, 0.0]] * 3
    assert empty.distances.tolist() == [[-1, -1]] * 3
    pids = gallery.enrol(codes)
    some = gallery.identify(near(codes, 30), 5, 0.7)
    assert some.pids.tolist() == [[pid, -1, -1, -1, -1] for pid in pids]
    assert some.scores[:, 0].tolist() == pytest.approx([0.7] * 3)
    assert (gallery.identify(near(codes, 31), 5, 0.7).pids == -1).all()
    assert gallery.identify(codes[:0], 5).pids.shape == (0, 5)
    assert gallery.enrol(codes[:0]) == []


def test_pids_may_be_noted_before_people_are_enrolled(gallery: CancellableGallery) -> None:
    codes = random_codes(6)
    known = gallery.enrol(codes[:2])
    drawn = gallery.draw_pids(2)
    assert len({*known, *drawn}) == 4
    assert gallery.pids == sorted(known)
    owners = [drawn[0], known[1], drawn[0], drawn[1]]
    assert gallery.enrol(codes[2:], owners) == owners
    assert gallery.identify(codes, 1).pids[:, 0].tolist() == known + owners
    assert gallery.pids == sorted(known + drawn)
    assert gallery.draw_pids(0) == []
    assert gallery.audit().ok


def test_the_threshold_is_one_for_symbols(folders: Folders) -> None:
    gallery = CancellableGallery.create(*folders, replace(PARAMETERS, threshold=0.9))
    pids = gallery.enrol(random_codes(2))
    probes = near(random_codes(2), 20)
    with pytest.raises(UserError, match=r"threshold, 0\.9, is a share of equal symbols; give the threshold for"):
        gallery.identify(probes, 1, metric="bits")
    assert gallery.identify(probes, 1, 0.8, "bits").pids[:, 0].tolist() == pids


def test_scores_reach_a_threshold_that_they_equal(folders: Folders) -> None:
    parameters = replace(PARAMETERS, m=10)
    gallery = CancellableGallery.create(*folders, parameters)
    (pid,) = gallery.enrol(random_codes(1, parameters))
    for equal in range(11):
        probe = near(random_codes(1, parameters), 10 - equal)
        assert gallery.identify(probe, 1, equal / 10).pids.tolist() == [[pid]]


def test_the_threshold_is_that_of_the_gallery_unless_given(folders: Folders) -> None:
    gallery = CancellableGallery.create(*folders, replace(PARAMETERS, threshold=0.9))
    gallery.enrol(random_codes(2))
    probes = near(random_codes(2), 20)
    assert (gallery.identify(probes, 1).pids == -1).all()
    assert (gallery.identify(probes, 1, 0.8).pids != -1).all()


@pytest.mark.parametrize(("bits", "scope"), [(1, "per_position"), (2, "shared"), (5, "shared"), (3, "shared")])
def test_other_lookup_tables(folders: Folders, bits: int, scope: str) -> None:
    parameters = Parameters(network="", m=77, q=8, bits=bits, lut_scope=scope, flip=True)
    gallery = CancellableGallery.create(*folders, parameters)
    codes = random_codes(10, parameters)
    pids = gallery.enrol(codes)
    gallery.renew()
    for metric in ("symbols", "bits"):
        matches = gallery.identify(codes, 1, metric=metric)
        assert matches.pids[:, 0].tolist() == pids
        assert (matches.distances == 0).all()


def test_what_is_stored_is_noise(folders: Folders) -> None:
    parameters = replace(PARAMETERS, m=512)
    gallery = CancellableGallery.create(*folders, parameters)
    gallery.enrol(random_codes(1, parameters).expand(200, -1))
    records = gallery._templates.records()[0]
    bits = unpack_planes(records.rows[np.arange(200)], 512, 3).double()
    assert bits.mean() == pytest.approx(0.5, abs=4 * 0.5 / bits.numel() ** 0.5)
    different = (bits[:100] != bits[100:]).double().mean()
    assert different == pytest.approx(0.5, abs=4 * 0.5 / (100 * 1536) ** 0.5)
    assert gallery.stats().renewals == 0


def test_refuses_codes_that_are_not_its_own(gallery: CancellableGallery) -> None:
    with pytest.raises(UserError, match=r"expected codes uint8 \[n, 100\], found uint8 \[2, 99\]"):
        gallery.enrol(random_codes(2)[:, 1:])
    with pytest.raises(UserError, match="values below 8"):
        gallery.identify(random_codes(2) + 1)
    with pytest.raises(UserError, match="k=0"):
        gallery.identify(random_codes(2), 0)
    with pytest.raises(UserError, match="metric: expected symbols or bits"):
        gallery.identify(random_codes(2), metric="cosine")
    with pytest.raises(UserError, match="2 codes but 1 pids"):
        gallery.enrol(random_codes(2), gallery.enrol(random_codes(1)))
    for no_pid in (-1, 0, 1 << 63, "7"):
        with pytest.raises(UserError, match="is no pid"):
            gallery.enrol(random_codes(1), [no_pid])
    with pytest.raises(UserError, match=r"another model's \(network of the test, this is abc\)"):
        gallery.check_network("abc")
    gallery.check_network("of the test")


def test_one_writes_and_others_read(gallery: CancellableGallery, folders: Folders) -> None:
    codes = random_codes(4)
    reader = CancellableGallery.open(*folders)
    assert len(reader) == 0
    pids = gallery.enrol(codes)
    assert reader.identify(codes, 1).pids[:, 0].tolist() == pids
    assert reader.stats() == gallery.stats()
    with pytest.raises(UserError, match="another process is writing"):
        CancellableGallery.open(*folders, write=True)
    with pytest.raises(UserError, match="another process is writing"):
        reader.audit()
    for change in (lambda: reader.enrol(codes), lambda: reader.revoke(pids), reader.renew, reader.repair):
        with pytest.raises(UserError, match="reading only"):
            change()
    gallery.close()
    assert reader.audit().ok
    with CancellableGallery.open(*folders, write=True) as other:
        assert other.revoke(pids[:1]) == 1
    assert reader.pids == sorted(pids[1:])
    with pytest.raises(UserError, match="reading only"):
        gallery.enrol(codes)


def _search_until_told(folders: Folders, codes: np.ndarray, pids: list[int], stop, answers) -> None:
    gallery = CancellableGallery.open(*folders)
    searches, states = 0, set()
    while not stop.is_set() or searches < 5:
        matches = gallery.identify(codes, 1)
        assert matches.pids[:, 0].tolist() == pids
        assert not matches.distances.any()
        assert matches.skipped == 0
        searches += 1
        states.add(gallery.stats().renewals)
    answers.put((searches, len(states)))


def test_readers_see_whole_states_beside_a_writer(gallery: CancellableGallery, folders: Folders) -> None:
    codes = random_codes(50)
    pids = gallery.enrol(codes)
    context = multiprocessing.get_context("fork")
    stop, answers = context.Event(), context.Queue()
    readers = [
        context.Process(target=_search_until_told, args=(folders, codes.numpy(), pids, stop, answers)) for _ in range(2)
    ]
    thread = threading.Thread(target=_search_until_told, args=(folders, codes.numpy(), pids, stop, answers))
    for reader in [*readers, thread]:
        reader.start()
    for turn in range(6):
        gallery.renew(pids if turn % 2 else pids[:7])
        others = gallery.enrol(random_codes(5, seed=turn + 10))
        gallery.revoke(others)
    stop.set()
    seen = [answers.get(timeout=30) for _ in range(3)]
    for reader in [*readers, thread]:
        reader.join()
    assert all(reader.exitcode == 0 for reader in readers)
    assert all(searches >= 5 for searches, _ in seen)
    assert max(states for _, states in seen) > 2
    assert gallery.audit().ok


def test_threads_may_write_by_one_gallery(gallery: CancellableGallery) -> None:
    threads = [threading.Thread(target=gallery.enrol, args=(random_codes(3, seed=seed),)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gallery) == 18
    assert gallery.audit().ok


def test_many_small_batches_make_few_files(gallery: CancellableGallery, folders: Folders) -> None:
    for seed in range(24):
        gallery.enrol(random_codes(1, seed=seed))
    assert len(list(folders[0].glob("*.drht"))) <= 5
    assert len(list(folders[1].glob("*.drhi"))) <= 5
    assert gallery.stats().templates == 24


def stored(gallery: CancellableGallery) -> set[bytes]:
    """All templates as they lie on the disk."""
    return {row.tobytes() for part in gallery._templates.records() for row in part.rows[np.arange(len(part))]}
