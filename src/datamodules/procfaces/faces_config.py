"""What a procedural data set holds. The sizes that have a name, and the defaults, are in ``conf/faces/``."""

from __future__ import annotations

from dataclasses import dataclass, fields

from src.datamodules.procfaces.identities import AttributeMode
from src.errors import UserError, check_choice

__all__ = ["BENCHMARKS", "FOLDS", "FacesConfig"]

BENCHMARKS = ("lfw", "agedb_30", "cfp_fp", "ijbc", "gender", "gender_shifted")
FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class FacesConfig:
    """Contents of one procedural data set; every field changes the images, none the way they are made.

    Attributes:
        name: Label of the data set, used in its folder name.
        identities: Number of training people.
        per_identity: Training images of each of them.
        size: Side of the aligned training images in pixels.
        difficulty: Multiplies pose, light, expression, occlusion, blur, age and look variation
            (0.5 easy, 1 default, 1.4 hard).
        seed: Another seed draws other people.
        id_strength: Spread of the identity factors; below 1 there are more look-alikes.
        attribute_strength: Shift of the identity factors between feminine-like and masculine-like faces.
        attribute_balance: ``"iid"`` draws the attribute of each person by a coin, ``"exact"`` gives one
            person of each two in a row either attribute.
        infrared: Whether training images come with a pixel-aligned near-infrared twin.
        benchmarks: Evaluation sets to write, out of ``lfw``, ``agedb_30``, ``cfp_fp``, ``ijbc``, ``gender`` and
            ``gender_shifted``.
        evaluation_identities: People in each of the benchmarks other than ``ijbc``.
        evaluation_images: Images drawn for each of them (only those that occur in a pair are rendered, but all of
            ``gender`` and ``gender_shifted``).
        pairs_per_fold: Genuine pairs, and as many impostor pairs, in each of the ten folds.
        photo_size: Side of the unaligned LFW-like photographs in pixels (250 as in LFW).
        ijbc_subjects: People in the IJB-C-like template benchmark.

    Raises:
        UserError: If a value is out of its range; the message names the field.
    """

    name: str
    identities: int
    per_identity: int
    size: int
    difficulty: float
    seed: int
    id_strength: float
    attribute_strength: float
    attribute_balance: AttributeMode
    infrared: bool
    benchmarks: tuple[str, ...]
    evaluation_identities: int
    evaluation_images: int
    pairs_per_fold: int
    photo_size: int
    ijbc_subjects: int

    def __post_init__(self) -> None:
        # Hydra hands over its own list type.
        object.__setattr__(self, "benchmarks", tuple(self.benchmarks))
        if not self.name or not all(c.isalnum() or c in "-_" for c in self.name):
            raise UserError(f"name: expected letters, digits, '-' and '_', found {self.name!r}")
        for field in fields(self):
            if field.name in _RANGES:
                self._check_number(field.name, whole=field.type == "int")
        check_choice("attribute_balance", self.attribute_balance, ("iid", "exact"))
        unknown = set(self.benchmarks) - set(BENCHMARKS)
        if unknown or len(set(self.benchmarks)) != len(self.benchmarks):
            raise UserError(
                f"benchmarks: expected distinct names out of {', '.join(BENCHMARKS)}, found {list(self.benchmarks)}"
            )

    def _check_number(self, key: str, *, whole: bool) -> None:
        value, (low, high) = getattr(self, key), _RANGES[key]
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            kind = "whole number" if whole else "number"
            raise UserError(f"{key}: expected a {kind} between {low} and {high}, found {value!r}")


_RANGES: dict[str, tuple[float, float]] = {
    "identities": (1, 90_000),
    "per_identity": (1, 1000),
    "size": (16, 512),
    "difficulty": (0, 3),
    "seed": (0, 2**63 - 1),
    "id_strength": (0, 3),
    "attribute_strength": (0, 3),
    "evaluation_identities": (2, 1000),
    "evaluation_images": (2, 40),
    "pairs_per_fold": (1, 300),
    "photo_size": (64, 512),
    "ijbc_subjects": (2, 1000),
}
