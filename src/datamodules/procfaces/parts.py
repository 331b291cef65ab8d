"""The parts of a procedural data set: what is drawn for each, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from src.datamodules.procfaces.drawing import Photograph, Scene
from src.datamodules.procfaces.export import (
    write_gender_set,
    write_photo_folder,
    write_shards,
    write_templates,
    write_verification_bin,
)
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.nuisances import Profile
from src.datamodules.procfaces.protocols import (
    Shots,
    age_pairs,
    gender_pairs,
    photo_pairs,
    pose_pairs,
    training_shots,
)
from src.datamodules.procfaces.templates import template_protocol

__all__ = ["TRAIN", "Part", "plan"]

TRAIN = "train"
_BIN_SIZE, _CROP_SIZE = 112, 144
# Profiles and old ages must occur in training for the pose and age benchmarks to be learnable.
_TRAINING = Profile(yaw_tail=0.15, age_tail=0.25)
_UNCONSTRAINED = Profile(yaw=22, yaw_tail=0.2, light=1.1, blur=1.6, occlusion=0.12, age_tail=0.15)
_SHIFTED = replace(_UNCONSTRAINED, age_spread=6, age_tail=0.35)


@dataclass(frozen=True)
class Part:
    """A file or folder of a data set that is written whole or not at all.

    Attributes:
        name: Its name in the data set's folder.
        scene: What its images share.
        shots: Its images.
        write: Writes it to a path, given the photographs of ``shots`` in order.
    """

    name: str
    scene: Scene
    shots: Shots
    write: Callable[[Path, Iterator[Photograph]], None]

    @property
    def bytes_on_disk(self) -> int:
        """Estimate on the safe side (measured: 5.1 kB per pair of 64 pixels, 6.4 kB per photograph of 250)."""
        image = 1000 + 0.25 * self.scene.size**2
        metadata = 3500
        return int(len(self.shots) * (image * (2 if self.scene.infrared else 1) + metadata))


def plan(config: FacesConfig) -> list[Part]:
    """The parts of a data set, in the order they are built.

    Raises:
        UserError: If a benchmark has too few people or images for its pairs.
    """
    parts = [_training(config)]
    makers: dict[str, Callable[[FacesConfig], Part]] = {
        "lfw": _photographs,
        "agedb_30": _ages,
        "cfp_fp": _poses,
        "ijbc": _templates,
        "gender": partial(_genders, name="gender", profile=_TRAINING),
        "gender_shifted": partial(_genders, name="gender_shifted", profile=_SHIFTED),
    }
    return parts + [makers[name](config) for name in config.benchmarks]


def _training(config: FacesConfig) -> Part:
    shots = training_shots(config)
    scene = Scene(config, _TRAINING.scaled(config.difficulty), config.size, infrared=config.infrared)
    return Part(TRAIN, scene, shots, partial(write_shards, shots=shots, config=config))


def _photographs(config: FacesConfig) -> Part:
    protocol = photo_pairs(config)
    scene = Scene(config, Profile(roll=6).scaled(config.difficulty), config.photo_size, framing="photograph")
    write = partial(write_photo_folder, protocol=protocol, seed=config.seed)
    return Part("lfw", scene, protocol.shots, write)


def _ages(config: FacesConfig) -> Part:
    protocol = age_pairs(config)
    scene = Scene(config, Profile().scaled(config.difficulty), _BIN_SIZE)
    return Part("agedb_30.bin", scene, protocol.shots, partial(write_verification_bin, protocol=protocol))


def _poses(config: FacesConfig) -> Part:
    protocol = pose_pairs(config)
    scene = Scene(config, Profile().scaled(config.difficulty), _BIN_SIZE)
    return Part("cfp_fp.bin", scene, protocol.shots, partial(write_verification_bin, protocol=protocol))


def _templates(config: FacesConfig) -> Part:
    protocol = template_protocol(config)
    scene = Scene(config, _UNCONSTRAINED.scaled(config.difficulty), _CROP_SIZE, framing="crop")
    return Part("IJBC", scene, protocol.shots, partial(write_templates, protocol=protocol))


def _genders(config: FacesConfig, *, name: str, profile: Profile) -> Part:
    protocol = gender_pairs(config, name)
    scene = Scene(config, profile.scaled(config.difficulty), _BIN_SIZE)
    return Part(f"{name}.bin", scene, protocol.shots, partial(write_gender_set, protocol=protocol))
