from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support_kill import PARAMETERS, interrupted_creation, run

from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery


def test_nothing_is_lost_and_nothing_wrong_is_found_wherever_the_writer_dies() -> None:
    kinds: Counter[str] = Counter()
    run(24, seed=7, report=lambda kind, outcome: kinds.update([kind, outcome]))
    assert min(kinds[f"{kind} at a {where}"] for kind, where in (("killed", "line"), ("killed", "moment"))) > 3
    assert kinds["lost power at a line"] > 3
    assert kinds["left something to repair"] > 3


@pytest.mark.slow
def test_a_hundred_and_fifty_more_deaths() -> None:
    run(150, seed=8)


def test_a_gallery_whose_making_was_interrupted_can_be_made(tmp_path: Path) -> None:
    for turn, lines in enumerate(range(1, 600, 60)):
        folders = tmp_path / str(turn) / "templates", tmp_path / str(turn) / "identifiers"
        interrupted_creation(*folders, lines)
        if CancellableGallery.exists(folders[0]):
            with pytest.raises(UserError, match="holds a gallery already"):
                CancellableGallery.create(*folders, PARAMETERS)
            gallery = CancellableGallery.open(*folders, write=True)
        else:
            gallery = CancellableGallery.create(*folders, PARAMETERS)
        assert len(gallery) == 0
        assert gallery.repair().ok
        gallery.close()
