"""What `privface generate` refuses to do, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support_generate import SMALL, generate, without

from src.datamodules.sources.generated_faces import GeneratedFaces
from src.errors import UserError


def test_a_filter_that_nobody_passes(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "people"
    strict = [*without("similarity_mean=", "similarity_std="), "similarity_mean=0.05", "similarity_std=0.02"]
    with pytest.raises(UserError) as error:
        generate(*inputs, *strict, "max_identity_attempts=20", f"out={out}")
    message = str(error.value)
    assert "stopped with 0 of 3 people: 20 in a row were rejected (max_identity_attempts); " in message
    assert "people rejected by: privacy" in message
    rejections = json.loads((out / "rejections.json").read_text())
    assert rejections["accepted"] == 0
    assert sum(rejections["people"].values()) == 20
    with pytest.raises(UserError, match="30 in a row were rejected"):
        generate(*inputs, *strict, "max_identity_attempts=30", f"out={out}")


def test_a_limit_that_some_reach(inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "people"
    keys = [*without("ids"), "ids=30", "max_identity_attempts=6"]
    with pytest.raises(UserError, match=r"stopped with [1-9]\d* of 30 people: 6 in a row were rejected"):
        generate(*inputs, *keys, f"out={out}")
    facts = json.loads((out / "generation.json").read_text())
    assert facts["audit"]["images"] == 4 * facts["ids"] == len(GeneratedFaces(out))
    assert (out / "contact_sheet.png").exists()


def test_people_without_enough_images(inputs: list[str], tmp_path: Path) -> None:
    few = [*without("max_attempts="), "max_attempts=4", "max_identity_attempts=5"]
    with pytest.raises(UserError, match=r"attempts \d.*; the images of those with too many attempts by: "):
        generate(*inputs, *few, f"out={tmp_path / 'people'}")


def test_faces_are_checked(inputs: list[str], tmp_path: Path) -> None:
    keys = [*without("detector="), "detector=procedural", "max_identity_attempts=12"]
    with pytest.raises(UserError, match=r"12 in a row were rejected .*; people rejected by: no_face \d"):
        generate(*inputs, *keys, f"out={tmp_path / 'people'}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["ids=0"], "ids: expected at least 1"),
        (["batch_size=0"], "batch_size: expected at least 1"),
        (["gallery=some"], "gallery: expected all, medoid or first"),
        (["resize_mode=none"], "resize_mode: expected antialiased or parity"),
        (["devices=0"], "devices: expected auto or a number from 1 on"),
        (["seed=-1"], "seed: expected 0 or more"),
        (["known=features.json"], "source, known: expected one of them"),
        (["samples_per_id=0"], "samples_per_id: expected at least 1"),
        (["face_probability=97"], "face_probability: expected 0 to 1"),
    ],
)
def test_mistakes(changes: list[str], message: str, inputs: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        generate(*inputs, *without(*changes), *changes, f"out={tmp_path / 'people'}")
    assert not (tmp_path / "people").exists()


def test_wrong_files(inputs: list[str], tmp_path: Path) -> None:
    files: dict[str, Any] = dict(key.split("=", 1) for key in inputs)
    with pytest.raises(UserError, match="expected a checkpoint of a training that makes images"):
        generate(*inputs[1:], f"ckpt_path={files['recogniser']}", *SMALL, f"out={tmp_path / 'people'}")
    with pytest.raises(UserError, match=r"none\.ckpt"):
        generate(*inputs[1:], f"ckpt_path={tmp_path / 'none.ckpt'}", *SMALL, f"out={tmp_path / 'people'}")
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "thesis.tex").touch()
    with pytest.raises(UserError, match="expected a new or empty folder"):
        generate(*inputs, *SMALL, f"out={tmp_path / 'people'}")
    with pytest.raises(UserError, match=r"shards=.*expected a new or empty target, found thesis\.tex"):
        generate(*inputs, *SMALL, f"out={tmp_path / 'new'}", f"shards={tmp_path / 'people'}")
    with pytest.raises(UserError, match=r"manifest\.jsonl: is missing"):
        GeneratedFaces(tmp_path)
