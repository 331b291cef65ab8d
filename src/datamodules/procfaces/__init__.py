"""Procedural faces: images of people that never existed, as functions of (seed, identity, sample).

Nothing is downloaded and no real person is shown. One parameter vector per image gives a face in visible
light, the same face in near infrared, landmarks, a box and labels. Numbers measured on these faces serve
regression tests, teaching and the debugging of methods; they predict no accuracy on photographs, and nothing
about people can be concluded from attribute or pigment factors, which are labels of a drawing programme.

    people = identity(seed=0, ids=range(4))
    images = nuisance(0, ids=range(4), samples=[0] * 4)
    parameters = combine(people, range(4), images)
    rendering = render(parameters, size=112)
    pixels = degrade(rendering.visible, parameters)
"""

from __future__ import annotations

from src.datamodules.procfaces.appearance import Beard, derive
from src.datamodules.procfaces.camera import Placement
from src.datamodules.procfaces.degradation import degrade, encode_jpeg
from src.datamodules.procfaces.identities import identity
from src.datamodules.procfaces.nuisances import Occlusion, Profile, combine, nuisance
from src.datamodules.procfaces.rendering import RENDER_VERSION, Rendering, render

__all__ = [
    "RENDER_VERSION",
    "Beard",
    "Occlusion",
    "Placement",
    "Profile",
    "Rendering",
    "combine",
    "degrade",
    "derive",
    "encode_jpeg",
    "identity",
    "nuisance",
    "render",
]
