from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.errors import UserError
from src.eval.generative.edges import EdgeAgreement, edge_agreement, edge_maps


def shapes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Coarse blocks; near infrared shows the same edges at another brightness."""
    coarse = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    grey = torch.nn.functional.interpolate(coarse, scale_factor=4)
    return grey.expand(-1, 3, -1, -1) * torch.tensor([0.9, 0.5, 0.7]).view(3, 1, 1), 0.3 - 0.4 * grey


def test_pairs_of_one_face_agree() -> None:
    pairs, shuffled = edge_agreement(*shapes(20))
    assert pairs.shape == (20,)
    assert shuffled.shape == (19,)
    torch.testing.assert_close(pairs, torch.ones(20), rtol=0, atol=1e-2)
    assert shuffled.mean() < 0.5


def test_is_the_correlation() -> None:
    vis, nir = shapes(3)[0], shapes(3, seed=1)[1]
    first, second = edge_maps(vis), edge_maps(nir)
    expected = [torch.corrcoef(torch.stack(rows))[0, 1] for rows in zip(first, second, strict=True)]
    pairs, shuffled = edge_agreement(vis, nir)
    torch.testing.assert_close(pairs, torch.stack(expected))
    torch.testing.assert_close(shuffled[0], torch.corrcoef(torch.stack([first[1], second[0]]))[0, 1])


@pytest.mark.parametrize("sizes", [(1, 1, 5), (3, 4), (6, 1)])
def test_batches_do_not_matter(sizes: tuple[int, ...]) -> None:
    vis, nir = shapes(7)
    stream = EdgeAgreement()
    for batch in zip(vis.split(sizes), nir.split(sizes), strict=True):
        stream.add(*batch)
    pairs, shuffled = edge_agreement(vis, nir)
    torch.testing.assert_close(torch.cat(stream.pairs), pairs)
    torch.testing.assert_close(torch.cat(stream.shuffled), shuffled)


def test_images_without_edges_agree_with_nothing() -> None:
    flat = torch.full((2, 3, 24, 24), 0.3)
    assert edge_agreement(flat, flat[:, :1])[0].abs().max() < 1e-2


def test_refuses_what_are_no_pairs() -> None:
    with pytest.raises(UserError, match=r"nir: expected 2 images of \[8, 8\] pixels as in vis, found 3 of \[8, 8\]"):
        edge_agreement(torch.rand(2, 3, 8, 8), torch.rand(3, 1, 8, 8))
