from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_source import MemorySource

from src.errors import UserError


def _source(labels: list[int], attributes: list[int]) -> MemorySource:
    return MemorySource({"image": [b""] * len(labels)}, labels, attributes=attributes)


def test_genders_of_classes() -> None:
    """Images of unknown gender say nothing about a person with others; class 3 has no image at all."""
    source = _source([0, 0, 1, 2, 2, 2, 4], [0, -1, -1, -1, 1, 1, 0])
    assert source.class_attributes.dtype == np.int8
    assert source.class_attributes.tolist() == [0, -1, 1, -1, 0]


def test_all_genders_are_unknown() -> None:
    assert MemorySource({"image": [b""] * 3}, [0, 1, 1]).class_attributes.tolist() == [-1, -1]


def test_a_person_of_two_genders_is_named() -> None:
    with pytest.raises(UserError, match=r"memory: 1 of 3 people have images of both genders, the first is 'person 1'"):
        _ = _source([0, 1, 1, 1, 2], [0, 1, -1, 0, 0]).class_attributes


@given(data=st.data())
def test_every_known_image_has_the_gender_of_its_class(data: st.DataObject) -> None:
    genders = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=6))
    labels = data.draw(st.lists(st.integers(0, len(genders) - 1), min_size=1, max_size=20))
    attributes = [genders[label] if data.draw(st.booleans()) else -1 for label in labels]
    found = _source(labels, attributes).class_attributes
    known = {label: attribute for label, attribute in zip(labels, attributes, strict=True) if attribute != -1}
    assert found.tolist() == [known.get(label, -1) for label in range(max(labels) + 1)]
