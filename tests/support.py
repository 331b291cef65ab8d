"""What several tests need."""

from __future__ import annotations

from typing import Any

from hydra.utils import instantiate

from src.apps.overrides import CONF, check
from src.datamodules.evaluation_images import EncodedImage
from src.datamodules.procfaces.faces_config import FacesConfig

FACES = sorted(path.stem for path in (CONF / "faces").glob("*.yaml"))


def faces_config(member: str = "small", /, **changes: Any) -> FacesConfig:
    """A member of the config group ``faces`` with some of its values changed."""
    config = check("privface", ["app=faces", "out=unused", f"faces={member}"]).faces
    return instantiate(config, **changes)


def unread_images(count: int) -> list[EncodedImage]:
    """Different images that nothing may decode."""
    return [EncodedImage(f"image {number} of {count}".encode(), str(number)) for number in range(count)]
