"""The data card that lies beside every procedural data set."""

from __future__ import annotations

from dataclasses import asdict

from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.rendering import RENDER_VERSION

__all__ = ["ATTRIBUTE_CONVENTION", "LICENCE", "data_card"]

LICENCE = "Apache-2.0, as the programme that drew the images; they hold no third-party content and show no real person"
ATTRIBUTE_CONVENTION = "0 = female (feminine-like drawing), 1 = male (masculine-like drawing)"

_CARD = """\
# Data card: {name}

Drawn by privface, renderer version {version}, seed {seed}. Licence: {licence}.

## Purpose
To test, teach and debug methods of privacy-preserving face recognition without a download and without a picture of
anyone. Every image is a function of the seed, the person's number and the image's number: the same configuration
gives the same images again (up to one or two grey levels between kinds of processors).

## What is in it
| part | content |
|---|---|
| `train/` | {identities} people x {per_identity} aligned images, {size} x {size} pixels{infrared}; WebDataset shards |
{benchmarks}
No person occurs in two parts. JPEG quality is a nuisance factor: each file is saved at its own quality of 45 to 95.

## Factors
* Identity: about 65 measures of eyes, brows, nose, mouth, head, hair and colours, 14 random bumps of the face's
  shape, moles, freckles, hair and beard style.
* Image: pose, expression, light, camera and its errors, background, clothes, glasses, sunglasses, masks, hats, objects,
  make-up, hair style, age, blur, noise.
* Attribute: {attribute}. It shifts the means of the identity factors.

## Configuration
{config}

## Limits
Stylised drawings, not photographs. Accuracies measured on them compare methods and versions of a programme; they do not
predict accuracy on real faces.

## Forbidden inferences
The attribute and the colours of skin, hair and eyes are settings of a drawing programme. No statement about people,
about groups of people, or about the fairness of a recogniser towards them can be drawn from this data.
"""

_BENCHMARKS = {
    "lfw": "| `lfw/` | {pairs} pairs of {evaluation_identities} people in the layout of LFW; unaligned photographs, "
    "{photo_size} x {photo_size} pixels, with landmarks |",
    "agedb_30": "| `agedb_30.bin` | {pairs} pairs of {evaluation_identities} people, at least 30 years apart |",
    "cfp_fp": "| `cfp_fp.bin` | {pairs} pairs of {evaluation_identities} people, one frontal and one profile view |",
    "gender": "| `gender.bin` | {pairs} pairs of {evaluation_identities} people, who look as in training; "
    "{gender_faces} images with the attribute of each |",
    "gender_shifted": "| `gender_shifted.bin` | the same of {evaluation_identities} others, in harder pose, light, "
    "blur, occlusion and age than in training |",
    "ijbc": "| `IJBC/` | templates of {ijbc_subjects} people in the layout of IJB-C; loose crops, 144 x 144 pixels |",
}


def data_card(config: FacesConfig) -> str:
    """The text of ``DATA_CARD.md`` for a data set, Markdown."""
    values = asdict(config)
    pairs = 2 * 10 * config.pairs_per_fold
    faces = config.evaluation_identities * config.evaluation_images
    rows = [_BENCHMARKS[name].format(pairs=pairs, gender_faces=faces, **values) for name in config.benchmarks]
    return _CARD.format(
        **values
        | {
            "version": RENDER_VERSION,
            "licence": LICENCE,
            "attribute": ATTRIBUTE_CONVENTION,
            "infrared": ", each with a near-infrared twin" if config.infrared else "",
            "benchmarks": "\n".join([*rows, ""]),
            "config": "\n".join(f"* {key}: {value}" for key, value in values.items()),
        }
    )
