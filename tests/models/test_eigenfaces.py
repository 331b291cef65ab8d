from __future__ import annotations

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.models.networks.whitened_pca import WhitenedPCA


@pytest.fixture
def images() -> np.ndarray:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(60, 5)) * np.array([9.0, 5.0, 3.0, 2.0, 1.0])
    directions = np.linalg.qr(generator.normal(size=(3 * 16 * 16, 5)))[0].T
    return (0.1 + scores @ directions).reshape(60, 3, 16, 16).astype(np.float32)


def test_coefficients_are_centred_and_white(images: np.ndarray) -> None:
    network = WhitenedPCA(embedding_size=4, size=16)
    network.fit(images)
    embeddings = network(torch.from_numpy(images))
    torch.testing.assert_close(embeddings.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(embeddings.T), torch.eye(4), atol=1e-3, rtol=0)


def test_weights_travel_in_the_state_dict(images: np.ndarray) -> None:
    fitted, copy = WhitenedPCA(4, 16), WhitenedPCA(4, 16)
    fitted.fit(images)
    copy.load_state_dict(fitted.state_dict())
    assert torch.equal(copy(torch.from_numpy(images)), fitted(torch.from_numpy(images)))


def test_more_components_than_images(images: np.ndarray) -> None:
    with pytest.raises(UserError, match="found 60"):
        WhitenedPCA(100, 16).fit(images)
