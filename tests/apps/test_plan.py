"""``privface plan`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support_commands import run_command, succeed

SMALL = ("plan", "experiment=arcface", "faces=ci32", "trainer=ddp", "datamodule.batch_size=8")
DATA = ("plan.images=42_000_000", "plan.classes=2_000_000")


def test_a_plan_is_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    printed = succeed(tmp_path, "privface", *SMALL, *DATA, "plan.gpus=32", "model.partial_fc=0.1", f"json={path}")
    for text in ("memory of a process", "embeddings", "reduce-scatter", "4,200 shards", "It fits"):
        assert text in printed
    numbers = json.loads(path.read_text())
    assert numbers["cluster"]["processes"] == 32
    assert numbers["job"]["sample_rate"] == 0.1
    assert numbers["prediction"]["head"]["classes"] == 62_500
    assert numbers["prediction"]["step"] > 0


def test_what_does_not_fit_says_how_it_would(tmp_path: Path) -> None:
    plan = (*SMALL, "plan.images=1000", "plan.classes=20_000_000", "trainer.devices=8", "plan.gpu=rtx4090")
    printed = succeed(tmp_path, "privface", *plan)
    assert "arcface on 8 x rtx4090" in printed
    assert "It does not fit" in printed
    assert "model.partial_fc=1.0" in printed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "no value for plan.images, plan.classes"),
        ((*DATA, "plan.gpu=h1000"), "plan.gpu=h1000: expected v100, a100"),
        ((*DATA, "plan.gpus=0"), "plan.gpus=0: expected 1 or more"),
        ((*DATA, "plan.efficiency.network=2"), "plan.efficiency.network=2: expected a share"),
        ((*DATA, "plan.image_bytes=0"), "plan.image_bytes=0: expected more than 0"),
        (("plan.images=1", "plan.clases=1"), "plan.clases does not exist. Did you mean plan.classes"),
        ((*DATA, "trainer=fsdp"), "model.partial_fc=null: under FSDP the head has to be shared out"),
    ],
)
def test_mistakes_name_the_key(overrides: tuple[str, ...], message: str) -> None:
    result = run_command("privface", *SMALL[:2], *overrides)
    assert result.returncode == 1
    assert message in result.stderr


def test_what_cannot_be_planned_says_what_can() -> None:
    result = run_command("privface", "plan", "experiment=eigenfaces", *DATA)
    assert result.returncode == 1
    assert "experiment eigenfaces: expected a recogniser" in result.stderr


def test_help_is_that_of_the_config() -> None:
    printed = run_command("privface", "plan", "--help").stdout
    assert "plan.gpus=32" in printed
    assert "interruptions in 54 days" in printed
