"""The same people whatever the batch size and the devices are, and others by another seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_generate import contents, generate, without


@pytest.mark.parametrize("changes", [["batch_size=3"], ["batch_size=64"], ["batch_size=5", "devices=2"]])
def test_batches_and_devices_change_nothing(
    changes: list[str], inputs: list[str], generated: Path, tmp_path: Path
) -> None:
    generate(*inputs, *without(*changes), *changes, f"out={tmp_path / 'people'}")
    found, expected = contents(tmp_path / "people"), contents(generated)
    # Sums in another order may differ in their last bit, which decisions and pixels survive.
    pictures = [name for name in expected if name.endswith(".png")]
    assert {name: found[name] for name in pictures} == {name: expected[name] for name in pictures}
    assert found["rejections.json"] == expected["rejections.json"]
    assert found["identities.npy"] == expected["identities.npy"]


def test_another_seed_makes_other_people(inputs: list[str], generated: Path, tmp_path: Path) -> None:
    generate(*inputs, *without("ids=1"), "ids=1", "seed=1", f"out={tmp_path / 'people'}")
    found, expected = contents(tmp_path / "people"), contents(generated)
    assert found["id_0_samples_VIS.png"] != expected["id_0_samples_VIS.png"]
