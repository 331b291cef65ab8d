from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support_checkpoint import write_checkpoint

from src.apps.checkpoint import TrainedCheckpoint
from src.apps.model_card import describe_model, find_results, render_card
from src.models.networks.mini import MiniFaceNet

MINI = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 16, "size": 32}


LAYER = {"_target_": "src.models.networks.rank_hash.RankHashLayer", "_partial_": True, "m": 24, "q": 8}


def facts(run: Path) -> dict[str, Any]:
    path = write_checkpoint(run / "checkpoints" / "last.ckpt", MiniFaceNet(16, 32), MINI, 32)
    checkpoint = TrainedCheckpoint.read(path)
    return describe_model(checkpoint, embedding_size=16, parameters=1234567, sha256="ab" * 32, difference=2e-7)


def facts_of_codes(run: Path) -> dict[str, Any]:
    model = {"_target_": "src.models.drh.DRH", "layer": LAYER}
    path = write_checkpoint(run / "checkpoints" / "last.ckpt", MiniFaceNet(16, 32), MINI, 32, model)
    checkpoint = TrainedCheckpoint.read(path)
    return describe_model(checkpoint, embedding_size=24, parameters=99, sha256="", difference=5e-5, alphabet=8)


def write_results(path: Path, checkpoint: str | None, accuracy: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    benchmarks = {"lfw": {"accuracy": accuracy, "tar@1e-4": None, "threshold": 1.2}}
    content = {"checkpoint": checkpoint, "benchmarks": benchmarks, "environment": {"commit": "c0ffee"}}
    path.write_text(json.dumps(content))


def test_results_are_those_of_this_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert find_results(last) == {}
    write_results(tmp_path / "results_before_training.json", None, 0.5)
    write_results(tmp_path / "results_best.json", "runs/tiny/checkpoints/best.ckpt", 0.9)
    (tmp_path / "results_damaged.json").write_text("{")
    (tmp_path / "results_list.json").write_text("[]")
    assert find_results(last) == {}
    write_results(tmp_path / "results.json", "runs/tiny/checkpoints/last.ckpt", 0.8)
    assert find_results(last)["benchmarks"]["lfw"]["accuracy"] == 0.8
    assert find_results(last.with_name("best.ckpt"))["benchmarks"]["lfw"]["accuracy"] == 0.9


def test_card_says_what_is_known(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", "runs/tiny/checkpoints/last.ckpt", 0.8123)
    card = render_card(facts(tmp_path))
    for expected in (
        "# tiny\n",
        "| network | MiniFaceNet, 1,234,567 values |",
        "| input | float32 [N, 3, 32, 32], RGB, (pixel - 127.5) / 127.5, that is [-1, 1] |",
        "FaceRecognizer on someone/faces by ShardSource, 1,234 optimiser steps in 3 epochs.",
        "Loss: ArcFaceHead(margin=0.5, scale=64.0).",
        "Started from start.pth.",
        "Code: commit c0ffee.",
        "| lfw | sets/lfw | accuracy | 0.8123 |",
        "differ by at most 2.0e-07 on random images",
    ):
        assert expected in card
    assert "/home" not in card
    assert "tar@1e-4" not in card
    assert "two faces are compared by the cosine of theirs" in card
    assert "invertible" not in card


def test_card_without_results_says_so(tmp_path: Path) -> None:
    known = facts(tmp_path)
    assert known["commit"] is None
    assert known["benchmarks"] == {}
    card = render_card(known)
    assert "None were found beside the checkpoint." in card
    assert "commit" not in card


def test_results_of_the_backbone_of_the_same_name_are_not_the_runs(tmp_path: Path) -> None:
    write_results(tmp_path / "results_backbone.json", "runs/demo/checkpoints/best.ckpt", 0.9)
    written = json.loads((tmp_path / "results_backbone.json").read_text())
    for label in ("backbone", "backbone of best"):
        (tmp_path / "results_backbone.json").write_text(json.dumps({**written, "label": label}))
        assert find_results(tmp_path / "checkpoints" / "best.ckpt") == {}
    write_results(tmp_path / "results_best.json", "runs/tiny/checkpoints/best.ckpt", 0.8)
    assert find_results(tmp_path / "checkpoints" / "best.ckpt")["benchmarks"]["lfw"]["accuracy"] == 0.8


def test_card_of_codes(tmp_path: Path) -> None:
    known = facts_of_codes(tmp_path)
    assert known["code"] == {"m": 24, "q": 8, "dtype": "uint8"}
    card = render_card(known)
    for expected in (
        "to codes: 24 symbols out of an alphabet of 8.",
        "Two faces are compared by the\nshare of equal symbols: 1 for the same code, about 0.125 for codes drawn",
        "| network | RankHashLayer behind MiniFaceNet, 99 values |",
        "| output | codes, uint8 [N, 24], values 0 to 7: m = 24, q = 8 |",
        "a share of 5.0e-05 differs on random images",
        "**With both stores leaked, templates are invertible**",
        "cosine of about 0.84",
        "0.91 as measured",
        "irreversibility rests on key separation",
        "`docs/template_protection.md`",
        "ckpt_path=model.safetensors model.layer.m=24 model.layer.q=8 datamodule.size=32 \\\n",
        "Codes identify people",
    ):
        assert expected in card
    for absent in ("cosine of theirs", "experiment=onnx", "Measured by attacks", "\n\n\n"):
        assert absent not in card


def test_card_of_codes_that_were_attacked(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", "runs/tiny/checkpoints/last.ckpt", 0.8)
    written = json.loads((tmp_path / "results.json").read_text())
    privacy = {"protection": {"gradient_cos": 0.9123, "linear_cos": None, "template_bytes": 9}}
    (tmp_path / "results.json").write_text(json.dumps({**written, "privacy": privacy}))
    card = render_card(facts_of_codes(tmp_path))
    assert "attacks on this network:\n\n| attack | value |\n|---|---|\n| gradient_cos | 0.9123 |\n\n" in card
    assert "linear_cos" not in card
    assert "template_bytes" not in card
