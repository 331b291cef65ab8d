from __future__ import annotations

import numpy as np
import pytest
import torch
from support_protection import coded_faces

from src.eval.protection.keys import KEY_TYPES, fresh_projection, identifiers
from src.eval.protection.scores import match, relabelled_match

FACES = coded_faces()
TYPES = {key_type.name: key_type for key_type in KEY_TYPES}


@pytest.mark.parametrize("name", TYPES)
def test_templates_are_codes_of_all_faces(name: str) -> None:
    templates, again = (TYPES[name].templates(FACES, 3, 7) for _ in range(2))
    assert len(templates) == 3
    for key, template in enumerate(templates):
        assert template.shape == FACES.codes.shape
        assert template.dtype == np.uint8
        assert template.max() < 8
        assert (template == again[key]).all()


@pytest.mark.parametrize("name", ["identifier", "projection", "permutation", "lut_position"])
def test_templates_under_different_keys_have_nothing_in_common(name: str) -> None:
    one, other = TYPES[name].templates(FACES, 2, 7)
    assert match(one, other).mean() == pytest.approx(1 / 8, abs=0.01)
    assert relabelled_match(one, other, 8).mean() < 0.33


def test_identifiers_are_uniform_and_differ() -> None:
    drawn = identifiers(FACES, 0)
    counts = np.bincount(drawn.ravel(), minlength=8)
    expected = drawn.size / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi square of 7 degrees, 0.1 %
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    (template,) = TYPES["identifier"].templates(FACES, 1, 0)
    assert (template ^ drawn == FACES.codes).all()


def test_templates_alone_have_fair_bits() -> None:
    (template,) = TYPES["identifier"].templates(FACES, 1, 0)
    bits = np.unpackbits(template[..., None], axis=-1)[..., -3:]
    shares = bits.reshape(-1, 3).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 4 * 0.5 / np.sqrt(template.size)


def test_an_identifier_used_twice_cancels() -> None:
    (template,) = TYPES["identifier_reused"].templates(FACES, 1, 0)
    first, second = np.arange(0, 200, 5), np.arange(1, 200, 5)
    assert (match(template[first], template[second]) == match(FACES.codes[first], FACES.codes[second])).all()
    assert match(template[:-5], template[5:]).mean() == pytest.approx(1 / 8, abs=0.01)


def test_permuting_embeddings() -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(7))
    moved = torch.empty_like(FACES.embeddings)
    moved[:, order] = FACES.embeddings
    (template,) = TYPES["permutation"].templates(FACES, 1, 7)
    assert match(template, FACES.rank_hash.codes(moved).numpy()).mean() > 0.999


def test_one_table_is_a_renaming() -> None:
    (template,) = TYPES["lut_shared"].templates(FACES, 1, 7)
    assert (relabelled_match(template, FACES.codes, 8) == 1).all()
    assert (match(template, FACES.codes) < 1).all()


def test_fresh_projections() -> None:
    one = fresh_projection(FACES.rank_hash, 3)
    assert one.weight.shape == FACES.rank_hash.weight.shape
    assert (one.m, one.q) == (64, 8)
    assert not one.bias.any()
    assert one.weight.std() == pytest.approx(1, abs=0.02)
    assert torch.equal(one.weight, fresh_projection(FACES.rank_hash, 3).weight)
