"""Finding an aligned procedural face by its geometry: no network, nothing that was learned."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from src.datamodules.procfaces import Profile, combine, identity, nuisance, render
from src.models.generation.faces import Detection

__all__ = ["TemplateFaceDetector"]

_SIZE = 48  # pixels at which is searched
_PEOPLE = 48  # that the template is the mean of
_LUMA = (0.299, 0.587, 0.114)
_FACE = (24.0, 27.0, 15.0, 19.0)  # ellipse around it: centre and half axes, in pixels
_SHIFT = 3  # how far the face may lie from its place
_PATCHES = (4, 4, 5, 4, 4)  # half the side of what is looked for around each landmark
_REACH = 4  # and how far from the place of the landmark
_EYES_AND_NOSE = 3  # the first landmarks
# Resemblance of 150 procedural faces of difficulty 0.5: 95 % above 0.57; of blurred noise, and of what a generator
# makes that was never trained: 98 % below 0.54. At 0.5 a face is as likely as not, at 0.57 its probability is 0.97.
_EVEN, _STEEPNESS = 0.5, 50.0


class TemplateFaceDetector:
    """Compares images with the mean of procedural faces that look straight ahead, wherever these are aligned.

    Each landmark lies where its surroundings correlate best. The probability is a logistic function of the mean of two
    numbers: the normalised correlation of the whole face, and that around eyes and nose. There is one face at most.
    """

    fingerprint = "procedural"

    def __init__(self) -> None:
        numbers = range(_PEOPLE)
        straight = nuisance(0, numbers, [0] * _PEOPLE, profile=Profile().scaled(0))
        rendering = render(combine(identity(0, numbers), numbers, straight), _SIZE, infrared=False)
        faces = _standardised(_grey(rendering.visible)).mean(0)
        self._template = (faces + faces.flip(1)) / 2
        self._landmarks = rendering.landmarks.mean(0)
        rows, columns = torch.meshgrid(torch.arange(_SIZE), torch.arange(_SIZE), indexing="ij")
        x, y, width, height = _FACE
        self._ellipse = (((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 < 1).flatten()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """Find the face on each of some images.

        Args:
            images: uint8 [N, 3, H, W] RGB, square.
        """
        size = images.shape[-1]
        small = F.interpolate(images.float(), (_SIZE, _SIZE), mode="bilinear", antialias=True)
        grey = _grey(small)
        places, scores = zip(*(self._locate(grey, number) for number in range(len(_PATCHES))), strict=True)
        parts = torch.stack(scores[:_EYES_AND_NOSE]).mean(0)
        probability = torch.sigmoid(((self._correlation(grey) + parts) / 2 - _EVEN) * _STEEPNESS)
        points = (torch.stack(places, dim=1) + 0.5) * (size / _SIZE) - 0.5
        return [
            [Detection(float(likely), landmarks)] if likely >= 0.5 else []
            for likely, landmarks in zip(probability, points, strict=True)
        ]

    def _correlation(self, grey: Tensor) -> Tensor:
        """Largest correlation [N] of the face within the ellipse, over all small shifts."""
        template = _standardised(self._template.flatten()[self._ellipse])
        best = torch.full((len(grey),), -1.0)
        for y in range(-_SHIFT, _SHIFT + 1):
            for x in range(-_SHIFT, _SHIFT + 1):
                inside = _standardised(grey.roll((y, x), (1, 2)).flatten(1)[:, self._ellipse])
                best = torch.maximum(best, (inside * template).mean(-1))
        return best

    def _locate(self, grey: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Pixels (x, y), float [N, 2], around which images look most like the template around a landmark.

        With the correlations [N] there.
        """
        half = _PATCHES[number]
        side = 2 * half + 1
        left, top = (self._landmarks[number].round().long() - half).tolist()
        patch = _standardised(self._template[top : top + side, left : left + side].flatten())
        window = grey[:, top - _REACH : top + side + _REACH, left - _REACH : left + side + _REACH]
        places = window.unfold(1, side, 1).unfold(2, side, 1).flatten(3)
        scores = (_standardised(places) * patch).mean(-1).flatten(1)
        highest, best = scores.max(1)
        across = 2 * _REACH + 1
        column, row = best % across, torch.div(best, across, rounding_mode="floor")
        points = torch.stack([column + left + half - _REACH, row + top + half - _REACH], dim=1)
        return points.float(), highest


def _grey(images: Tensor) -> Tensor:
    """Luminance [N, H, W] of RGB [N, 3, H, W]."""
    return torch.einsum("nchw,c->nhw", images, images.new_tensor(_LUMA))


def _standardised(values: Tensor) -> Tensor:
    """Scale along the last dimension, of an image along the last two, to mean 0 and variance 1; constants become 0."""
    dimensions = (-2, -1) if values.ndim == 3 else (-1,)
    centred = values - values.mean(dimensions, keepdim=True)
    return centred / centred.square().mean(dimensions, keepdim=True).sqrt().clamp_min(1e-6)
