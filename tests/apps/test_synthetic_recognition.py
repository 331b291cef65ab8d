"""A recogniser trained on synthetic people and judged by real ones, and synthetic people judged by a recogniser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support_commands import run_command, succeed, workspace
from support_generate import SMALL, write_inputs
from support_pairs import write_pairs

from src.apps.overrides import check
from src.errors import UserError

TRAINING = (
    "experiment=synthetic_recognition",
    "faces=ci32",
    "datamodule.batch_size=12",
    "datamodule.num_workers=0",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=1",
    "bootstrap=0",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``people``, ``real`` people, ``strangers``, a ``recogniser.ckpt`` and a benchmark."""
    folder = workspace(tmp_path_factory)
    succeed(folder, "privface", "generate", *write_inputs(folder), *SMALL, f"out={folder / 'people'}")
    succeed(folder, "privface", "faces", f"out={folder / 'data/ci32'}", "faces=ci32", "processes=1")
    write_pairs(folder / "strangers", ["3_1", "3_2", "4_1", "4_2"])
    return folder


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.slow
def test_training_by_any_use_of_the_near_infrared(root: Path) -> None:
    sweep = root / "runs" / "sweep"
    chosen = (f"people.root={root / 'people'}", "near_infrared=none,samples,channel", f"hydra.sweep.dir={sweep}")
    printed = succeed(root, "train.py", "-m", *TRAINING, *chosen)
    assert "near_infrared=channel" in printed
    for job, steps in enumerate((1, 2, 1)):
        assert results(sweep / str(job))["benchmarks"]["lfw"]["accuracy"] > 0.4
        assert (sweep / str(job) / "results_untrained.json").is_file()
        checkpoint = torch.load(sweep / str(job) / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == steps
        first = next(iter(checkpoint["state_dict"].values()))
        assert first.shape[1] == (4 if job == 2 else 3)
    network = f"{sweep / '2/checkpoints/last.ckpt'}"
    output = root / "runs" / "again"
    arguments = (
        f"people.root={root / 'people'}",
        "near_infrared=channel",
        f"ckpt_path={network}",
        f"hydra.run.dir={output}",
    )
    succeed(root, "eval.py", *TRAINING, *arguments)
    accuracy, trained = (results(folder)["benchmarks"]["lfw"]["accuracy"] for folder in (output, sweep / "2"))
    assert accuracy == pytest.approx(trained, abs=0.02)  # training evaluates with bfloat16
    succeed(root, "privface", "convert", f"ckpt={network}", f"out={root / 'exported'}")


@pytest.mark.slow
def test_the_same_recogniser_on_real_people(root: Path) -> None:
    real = ("source@people=vis_nir", f"people.root={root / 'real'}", "name=real_recognition")
    succeed(root, "train.py", *TRAINING, *real, "datamodule.batch_size=4")
    assert results(root / "runs/real_recognition")["benchmarks"]["lfw"]["accuracy"] > 0.4


@pytest.mark.slow
def test_synthetic_people_by_a_recogniser(root: Path) -> None:
    output = root / "runs" / "judged"
    benchmark = "benchmark.synthetic_identities"
    arguments = (
        "experiment=arcface", "datamodule=folder", "datamodule.source.root=.", "datamodule.size=32",
        "datamodule.num_workers=0", "model.backbone.embedding_size=16", f"ckpt_path={root / 'recogniser.ckpt'}",
        f"hydra.run.dir={output}", "benchmark=[synthetic_identities]", f"{benchmark}.root={root / 'people'}",
        f"source@{benchmark}.known=vis_nir", f"{benchmark}.known.root={root / 'real'}",
    )  # fmt: skip
    few = run_command("eval.py", *arguments, root=root)
    assert few.returncode != 0
    assert "4 comparisons of different people are too few" in few.stderr
    held_out = (f"source@{benchmark}.held_out=vis_nir", f"{benchmark}.held_out.root={root / 'strangers'}")
    printed = succeed(root, "eval.py", *arguments, *held_out, f"{benchmark}.threshold=0.4")
    assert "synthetic_identities: all privacy metrics" in printed
    found = results(output)
    people, privacy = found["benchmarks"]["synthetic_identities"], found["privacy"]["synthetic_identities"]
    # The filter of generation promises it, of the same recogniser: two images of one person are at least as similar as
    # 0.4 to the first, those of different people and of real ones are not.
    assert people["genuine_mean"] > 0.4 > people["impostor_mean"]
    assert privacy["breached"] == 0
    assert privacy["nearest_training_max"] <= 0.4
    assert privacy["membership_auc"] == 0.5  # the strangers look like the people who were trained on
    assert privacy["nearest_gap"] == 0
    page = (output / "report" / "index.html").read_text()
    assert "synthetic_identities: all privacy metrics" in page
    assert "synthetic_identities: hardest pairs" in page


def test_mistakes() -> None:
    with pytest.raises(UserError, match=r"near_infrared=fourth does not exist.*\n.*channel, none, samples"):
        check("train", ["experiment=synthetic_recognition", "people.root=PEOPLE", "near_infrared=fourth"])
    with pytest.raises(UserError, match=r"no value for people\.root"):
        check("train", ["experiment=synthetic_recognition"])
