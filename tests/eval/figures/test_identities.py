from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from src.eval.figures.canvas import read_figure
from src.eval.figures.identities import identity_figure, membership_figure
from src.eval.generative.identities import IdentityScores, identity_scores
from src.eval.generative.membership import membership


def scores(noise: float) -> IdentityScores:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 32, generator=generator).repeat_interleave(5, dim=0)
    return identity_scores(
        centres + noise * torch.randn(60, 32, generator=generator), torch.arange(12).repeat_interleave(5)
    )


def test_synthetic_identities_beside_real_people(tmp_path: Path) -> None:
    synthetic, real = scores(1.0), scores(0.5)
    figure = identity_figure(tmp_path / "a.png", synthetic, real)
    assert read_figure(figure.path) == figure
    assert f"EER {100 * synthetic.curve.eer:.2f} %" in figure.title
    assert f"same identity {synthetic.curve.genuine.mean():.3f}, different identities" in figure.alt
    assert f"same real person {real.curve.genuine.mean():.3f}, different real people" in figure.alt
    with Image.open(figure.path) as image:
        assert image.width == 840


def test_synthetic_identities_alone(tmp_path: Path) -> None:
    assert "real" not in identity_figure(tmp_path / "a.png", scores(1.0)).alt


def test_membership(tmp_path: Path) -> None:
    synthetic, training, held_out = torch.randn(3, 50, 16, generator=torch.Generator().manual_seed(0)).unbind()
    found = membership(synthetic, training, held_out, threshold=0.7)
    figure = membership_figure(tmp_path / "a.png", found)
    assert read_figure(figure.path) == figure
    assert f"AUC {found.attack.auc:.3f}, chance 0.5" in figure.title
    assert f"people trained on {found.compared_training.mean():.3f}, people held out" in figure.alt
    assert "threshold 0.700" in figure.alt


def test_one_and_the_same_similarity(tmp_path: Path) -> None:
    same = torch.ones(4, 3)
    assert membership_figure(tmp_path / "a.png", membership(same, same, same, threshold=0.5)).path.is_file()
