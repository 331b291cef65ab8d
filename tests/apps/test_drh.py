"""Deep rank hashing as a user types it, on faces small enough for a test."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from support_commands import succeed, workspace

from src.apps.checkpoint import TrainedCheckpoint
from src.models.networks.rank_hash import RankHashNetwork

FACES = ("faces=ci32", "datamodule.num_workers=0", "bootstrap=0")
BACKBONE = ("experiment=arcface", *FACES, "benchmark=lfw", "evaluate_untrained=false", "trainer.max_epochs=4")
METHOD = (
    *("experiment=drh", *FACES, "datamodule.batch_size=64", "model.layer.m=64", "trainer.max_epochs=4"),
    *("trainer.check_val_every_n_epoch=4", "benchmark.identification.enrolled=30"),
)
ATTACKS = (
    "benchmark=[lfw,identification,protection]",
    *(f"benchmark.protection.attacks.{key}" for key in ("keys=4", "key_pairs=6", "inverted=10", "records=[1]")),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a trained backbone, ``runs/demo``, and the method behind it, ``runs/drh``."""
    folder = workspace(tmp_path_factory)
    succeed(folder, "train.py", *BACKBONE, "name=demo", "trainer.check_val_every_n_epoch=4")
    succeed(folder, "train.py", *METHOD)
    return folder


def read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(path.read_text())


def test_learned_codes_identify_and_protected_ones_do_as_well(root: Path) -> None:
    folder = root / "runs" / "drh"
    rows = json.loads((folder / "results.json").read_text())["other_rows"]
    assert rows == ["backbone", "untrained", "last, bits", "last, 1bit", "last, protected"]
    untrained, last = read(folder / "results_untrained.json"), read(folder / "results.json")
    # After so short a training the order of learned and random codes is that of the last bit of the backbone.
    assert last["benchmarks"]["lfw"]["eer"] < untrained["benchmarks"]["lfw"]["eer"] + 0.03
    assert last["benchmarks"]["identification"]["rank1"] > 0.6
    assert read(folder / "results_last_protected.json")["benchmarks"] == last["benchmarks"]
    assert last["benchmarks"]["identification"]["dir@1e-2"] > 0
    pictures = {path.name for path in (folder / "figures").glob("images_codes_*.png")}
    assert pictures == {f"images_codes_{name}.png" for name in ("symbols", "entropy", "hardest_pairs")}


def test_checkpoints_hold_the_backbone_too(root: Path) -> None:
    network = TrainedCheckpoint.read(root / "runs" / "drh" / "checkpoints" / "last.ckpt").build_backbone()
    assert isinstance(network, RankHashNetwork)
    assert (network.m, network.alphabet, network.size) == (64, 8, 32)


def test_evaluation_attacks_the_templates(root: Path) -> None:
    printed = succeed(root, "eval.py", *METHOD, "ckpt_path=last", *ATTACKS, f"hydra.run.dir={root / 'eval'}")
    assert "What a leak gives away" in printed
    trained, evaluated = read(root / "runs" / "drh" / "results.json"), read(root / "eval" / "results.json")
    assert evaluated["benchmarks"]["lfw"] == pytest.approx(trained["benchmarks"]["lfw"], nan_ok=True)
    privacy = evaluated["privacy"]["protection"]
    assert privacy["dsys_identifier"] < privacy["dsys_chance"] + 0.05
    assert privacy["dsys_stores"] > 0.1
    assert privacy["renewed_equal"] == 1
    assert privacy["template_bytes"] == 24
    assert "protection" not in read(root / "eval" / "results_backbone.json")["privacy"]


def test_what_random_codes_cost(root: Path) -> None:
    succeed(root, "train.py", *METHOD, "experiment=drh_random", "trainer.max_epochs=0")
    untrained, random = (
        read(root / "runs" / path) for path in ("drh/results_untrained.json", "drh_random/results.json")
    )
    assert random["benchmarks"] == untrained["benchmarks"]


def test_sweep_ends_with_one_table(root: Path) -> None:
    short = (
        "experiment=drh_sweep",
        *METHOD[1:],
        "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1",
        *ATTACKS[1:],
    )
    choices = ("model.layer.m=32", "model.layer.q=2,4", "model.layer.T=1", "loss=drh_batch_hard")
    printed = succeed(root, "train.py", *short, *choices, f"hydra.sweep.dir={root / 'sweep'}")
    assert "D_sys" in printed
    with open(root / "sweep" / "sweep.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["model.layer.q"] for line in lines} == {"2", "4"}  # the best comes first
    for line in lines:
        assert 0 < float(line["EER"]) < 0.5
        assert float(line["bytes"]) == 8 * int(line["model.layer.q"]).bit_length() - 8
        assert 0 <= float(line["D_sys"]) < 0.2
    assert lines[0]["random EER"] != lines[1]["random EER"]


def test_backbone_that_learns_is_attacked_as_it_is_at_the_end(root: Path) -> None:
    short = (*METHOD, "name=unfrozen", "model.freeze=false", "trainer.max_epochs=1", "evaluate_untrained=false")
    succeed(root, "train.py", *short, *ATTACKS, "model.matchers=null", "trainer.check_val_every_n_epoch=9")
    folder = root / "runs" / "unfrozen"
    assert json.loads((folder / "results.json").read_text())["other_rows"] == ["backbone", "backbone of last"]
    succeed(
        root, "eval.py", *short, *ATTACKS, "model.matchers=null", "ckpt_path=last", f"hydra.run.dir={root / 'again'}"
    )
    trained, evaluated = (read(path / "results.json")["privacy"]["protection"] for path in (folder, root / "again"))
    assert trained == pytest.approx(evaluated, nan_ok=True)
