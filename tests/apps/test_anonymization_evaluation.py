"""Password transformers judged by ``eval.py``, on few procedural faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support_checkpoint import write_checkpoint
from support_commands import run_command, succeed, workspace

from src.apps.overrides import check
from src.models.networks.mini import MiniFaceNet
from src.models.networks.password_transformer.calibration import calibrate, calibration, has_batch_norms

FACES = (
    "faces=password64", "faces.name=password_judged", "faces.identities=6", "faces.per_identity=4",
    "faces.evaluation_identities=8", "faces.evaluation_images=4", "faces.pairs_per_fold=4",
)  # fmt: skip
NETWORKS = (
    "model.recogniser_file=null", "model.transformer.channels=4", "model.transformer.blocks=1",
    "model.discriminators.channels=4", "model.predictor.channels=4", "datamodule.batch_size=8",
)  # fmt: skip
EFFORT = (
    "anonymization.pairs=1", "anonymization.passwords=2", "anonymization.diversity_faces=2", "anonymization.shown=2",
    "anonymization.effort.flip_faces=2", "anonymization.effort.guess_faces=1", "anonymization.effort.guesses=8",
    "anonymization.effort.probe_images=16",
)  # fmt: skip
JUDGED = ("experiment=password_transformer_procfaces", *FACES, *EFFORT, "datamodule.batch_size=8")
RECOGNISER = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 16, "size": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with checkpoints of a transformer, ``tiny.ckpt``, and of a recogniser, ``judge/last.ckpt``."""
    folder = workspace(tmp_path_factory)
    torch.manual_seed(1)
    write_checkpoint(folder / "judge" / "last.ckpt", MiniFaceNet(16, 64), RECOGNISER, 64)
    write_transformer(folder / "tiny.ckpt")
    return folder


def write_transformer(path: Path, *changes: str) -> None:
    """Write a checkpoint as a training would, which begins with random weights; batch norms are calibrated."""
    config = check("train", ["experiment=password_transformer_procfaces", *FACES, *NETWORKS, *changes])
    torch.manual_seed(0)
    module = instantiate(config.model, _convert_="all")
    module.prepare(6)
    content = {
        "epoch": 0,
        "global_step": 0,
        "hyper_parameters": {
            name: OmegaConf.to_container(config[name], resolve=True) for name in ("model", "password")
        },
        "state_dict": module.state_dict(),
    }
    content["hyper_parameters"]["datamodule"] = {"size": config.datamodule.size}
    if has_batch_norms(module.transformer):
        calibrate(module.transformer, [torch.rand(8, 3, 16, 16) * 2 - 1 for _ in range(16)])
        content["bn_stats"] = calibration(module.transformer)
    torch.save(content, path)


def judge(root: Path, *arguments: str) -> dict[str, Any]:
    given = (argument.replace("ckpt_path=", f"ckpt_path={root}/") for argument in arguments)
    recogniser = f"recogniser={root}/judge/last.ckpt"
    succeed(root, "eval.py", *JUDGED, recogniser, f"hydra.run.dir={root}/runs/judged", *given)
    return json.loads((root / "runs" / "judged" / "results.json").read_text())


def test_all_is_measured(root: Path) -> None:
    results = judge(root, "ckpt_path=tiny.ckpt")
    metrics, privacy = results["benchmarks"]["lfw"], results["privacy"]["lfw"]
    for name in (
        "anon_success@accuracy", "wrong_success@accuracy", "wrong_anon_success@accuracy", "rec_success@accuracy",
        "verif_orig_accuracy", "verif_anon_auc", "reid_anon_rank1", "reid_wrong_rank5", "diversity_anon",
        "rec_l1", "rec_psnr", "rec_ssim", "detect_rate_anon", "bg_l1", "fid_like_anon@judge_last", "q_acc",
        "q_bit_acc", "compress_jpeg75_rec_psnr", "trained_with_anon_cos",
    ):  # fmt: skip
        assert metrics[name] is not None, name
    for name in (
        "bitflip_cos@0", "bitflip_success@16", "worst_bit", "guesses", "brute_rank_known", "brute_rank_detector",
        "effective_key_bits@accuracy", "gallery_attack_rank1", "leak_bits_anon", "adaptive_rank1", "naive_rank1",
        "pass_flop", "pass_seconds", "brute_seconds",
    ):  # fmt: skip
        assert privacy[name] is not None, name
    assert privacy["bitflip_l1@0"] > 0
    figures = {path.name.split("_tiny")[0] for path in (root / "runs" / "judged" / "figures").glob("images_*.png")}
    assert figures == {"images_anonymised", "images_recognised", "images_wrong_bits"}
    page = (root / "runs" / "judged" / "report" / "index.html").read_text()
    assert "Password sensitivity" in page or "wrong bits in the password" in page


def test_batch_norms_are_judged_with_both_kinds_of_statistics(root: Path) -> None:
    write_transformer(root / "norms.ckpt", "model.transformer.conditioning=planes", "model.transformer.norm=batch")
    judge(root, "ckpt_path=norms.ckpt")
    files = (root / "runs" / "judged").glob("results*.json")
    rows = {row["label"]: row for row in (json.loads(path.read_text()) for path in files)}
    assert {"norms", "norms, batch statistics"} <= set(rows)
    assert not rows["norms, batch statistics"]["privacy"]
    assert rows["norms"]["privacy"]["lfw"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "recogniser: expected the network"),
        (("recogniser=nowhere.ckpt",), "nowhere.ckpt: there is no such file"),
        (("recogniser=JUDGE", "benchmark=[]"), "benchmark: expected sets of pairs"),
        (("recogniser=JUDGE", "anonymization.framing=wide"), "anonymization.framing"),
        (("recogniser=JUDGE", "ckpt_path=JUDGE"), "expected a checkpoint of python train.py experiment=password"),
    ],
)
def test_mistakes_are_told_before_the_work(root: Path, arguments: tuple[str, ...], message: str) -> None:
    file = str(root / "judge" / "last.ckpt")
    result = run_command("eval.py", *JUDGED, *(part.replace("JUDGE", file) for part in arguments), root=root)
    assert result.returncode != 0
    assert message in result.stderr
