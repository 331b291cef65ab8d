from __future__ import annotations

import numpy as np
import pytest
import torch
from support_protection import coded_faces, pairs_of_cosine, projection

from src.eval.protection.faces import comparisons, mated_pairs
from src.eval.protection.keys import KEY_TYPES
from src.eval.protection.linking import LinkSettings, link, link_metric_names, link_metrics
from src.eval.protection.scores import match, relabelled_match
from src.eval.unlinkability import d_sys
from src.ops.lookup_table import LookupTable

SETTINGS = LinkSettings(keys=6, bins=None, integral="sum", seed=0)
PAIRS = 1500


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], float]:
    """D_sys less what chance gives, by kind of key and score, of 512 symbols at cosine 0.6."""
    faces = coded_faces(people=60, images=6, m=512, d=512)
    plan = list(comparisons(faces.labels, mated_pairs(faces.labels), 6, 15, 12_000, 0))
    links = [one for key_type in KEY_TYPES for one in link(faces, key_type, plan, SETTINGS)]
    assert tuple(link_metrics(links)) == link_metric_names()
    assert link_metrics(links)["dsys_chance"] == max(one.chance for one in links) < 0.03
    for one in links:
        assert sum(one.mated) == sum(one.non_mated) == 12_000
        assert len(one.edges) == len(one.mated) + 1
    return {(one.key, one.score): one.d_sys - one.chance for one in links}


def test_templates_alone_are_not_linked(found: dict) -> None:
    assert found["identifier", "match"] < 0.02
    assert found["identifier", "relabelled"] < 0.02


def test_codes_are_linked(found: dict) -> None:
    assert found["stores", "match"] > 0.95
    assert found["identifier_reused", "match"] > 0.95


@pytest.mark.parametrize("key", ["projection", "permutation", "lut_position"])
@pytest.mark.parametrize("score", ["match", "relabelled"])
def test_other_keys_for_codes_without_identifiers(found: dict, key: str, score: str) -> None:
    assert found[key, score] < 0.1


def test_one_table_hides_nothing_from_who_renames_symbols(found: dict) -> None:
    assert found["lut_shared", "match"] < 0.6
    assert found["lut_shared", "relabelled"] > 0.9


def codes_of_pairs(cosine: float) -> tuple[np.ndarray, np.ndarray]:
    rank_hash = projection(512, 8, 512)
    return tuple(rank_hash.codes(x).numpy() for x in pairs_of_cosine(PAIRS, cosine))


def encoded(codes: np.ndarray, number: int, bits: int | None = None, m: int | None = None) -> np.ndarray:
    """Bits of each code under a table of its own, uint8 [n, m * b]."""
    tables = (LookupTable.random(8, bits, m=m, seed=f"{number} {row}".encode()) for row in range(len(codes)))
    return torch.stack([table.encode(code) for table, code in zip(tables, codes, strict=True)]).flatten(1).numpy()


def symbols(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits.reshape(len(bits), -1, 3), axis=-1)[..., 0] >> 5


@pytest.mark.parametrize(("cosine", "plain", "assigned"), [(0.4, 0.24, 0.275), (0.6, 0.44, 0.386)])
def test_a_fresh_table_for_each_template(cosine: float, plain: float, assigned: float) -> None:
    """Section 8.1 of the specification: 512 x 8, 1,500 pairs, nothing known of the tables."""
    first, second = (symbols(encoded(codes, side)) for side, codes in enumerate(codes_of_pairs(cosine)))
    others = np.roll(second, 1, axis=0)
    assert d_sys(match(first, second), match(first, others)).d_sys == pytest.approx(plain, abs=0.09)
    mated, non_mated = relabelled_match(first, second, 8), relabelled_match(first, others, 8)
    assert mated.mean() == pytest.approx(assigned, abs=0.005)
    assert non_mated.mean() == pytest.approx(0.181, abs=0.002)
    assert d_sys(mated, non_mated).d_sys > 0.99


def test_a_fresh_table_for_each_position() -> None:
    codes = [rows[:600] for rows in codes_of_pairs(0.6)]
    tables = [LookupTable.random(8, m=512, seed=bytes([side])) for side in (0, 1)]
    first, second = (symbols(table.encode(side).flatten(1).numpy()) for table, side in zip(tables, codes, strict=True))
    mated = relabelled_match(first, second, 8)
    others = np.concatenate([relabelled_match(first, np.roll(second, shift, axis=0), 8) for shift in (1, 2)])
    assert mated.mean() == pytest.approx(0.180, abs=0.002)
    assert d_sys(mated, others, bins=20).d_sys < 0.1


@pytest.mark.parametrize(("cosine", "expected"), [(0.4, 0.25), (0.6, 0.42)])
def test_a_fresh_table_of_one_bit(cosine: float, expected: float) -> None:
    """Balanced columns are alike or opposed by chance, so that the distance from one half tells."""
    first, second = (encoded(codes, side, bits=1) for side, codes in enumerate(codes_of_pairs(cosine)))
    mated, others = (np.abs(match(first, side) - 0.5) for side in (second, np.roll(second, 1, axis=0)))
    assert d_sys(mated, others).d_sys == pytest.approx(expected, abs=0.1)
