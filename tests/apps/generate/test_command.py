"""`privface generate` as a user types it, and what it writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support_generate import SMALL, contents, generate, without

from src.apps.embedding import Recogniser
from src.datamodules.sources.generated_faces import GeneratedFaces
from src.datamodules.sources.paired_folders import PairedFolders
from src.datamodules.sources.shard_source import ShardSource
from src.errors import UserError


def test_output(generated: Path) -> None:
    printed = (generated.parent / "output.txt").read_text()
    assert "3, 12 images of" in printed
    assert "all images read back" in printed
    assert f"datamodule.source.root={generated.parent / 'shards'}" in printed


def test_tree(generated: Path) -> None:
    expected = {"contact_sheet.png", "embeddings.npy", "generation.json", "identities.npy"}
    expected |= {"manifest.jsonl", "rejections.json"}
    for person in range(3):
        for spectrum in ("VIS", "NIR"):
            expected.add(f"id_{person}_samples_{spectrum}.png")
            expected |= {f"id_{person}/{spectrum}/sample_{sample}_{spectrum}.png" for sample in range(4)}
    assert set(contents(generated)) == expected
    assert {path.name for path in (generated / "sheets").iterdir()} == {"interpolation.png", "truncation.png"}
    with Image.open(generated / "id_1/VIS/sample_3_VIS.png") as visible:
        assert (visible.mode, visible.size) == ("RGB", (32, 32))
    with Image.open(generated / "id_1/NIR/sample_3_NIR.png") as infrared:
        assert infrared.mode == "RGB"
        red, green, blue = infrared.split()
        assert red.tobytes() == green.tobytes() == blue.tobytes()
    with Image.open(generated / "id_0_samples_VIS.png") as grid:
        assert grid.size == (32 + 4, 4 * 34 + 2)  # 4 // 4 images in a row, 2 pixels around each


def test_the_written_images_keep_the_promises(generated: Path, inputs: list[str]) -> None:
    files = dict(key.split("=", 1) for key in inputs)
    recogniser = Recogniser(Path(files["recogniser"]), None, 32, torch.device("cpu"))
    source = GeneratedFaces(generated)
    unit = torch.from_numpy(recogniser.embed(source, 5)).double()
    unit /= unit.norm(dim=1, keepdim=True)
    real = torch.from_numpy(recogniser.embed(PairedFolders(files["source.root"]), 5)).double()
    similarity = (unit @ (real / real.norm(dim=1, keepdim=True)).mT).abs()
    assert similarity.max() <= 0.4
    people = unit.view(3, 4, -1)
    firsts = people[:, 0]
    for later in range(1, 3):
        assert (people[later] @ firsts[:later].mT).abs().max() <= 0.4
    for own in people:
        assert (own @ own[0]).abs().min() >= 0.4
        assert (own @ own.mT).fill_diagonal_(0).max() <= 0.7
    stored = np.load(generated / "embeddings.npy")
    np.testing.assert_allclose(stored, people.numpy(), atol=1e-5)
    facts = json.loads((generated / "generation.json").read_text())
    assert facts["audit"]["ids_above_threshold"] == 0
    assert facts["audit"]["max_cos_known"] == pytest.approx(float(similarity.max()), abs=1e-6)
    assert facts["settings"]["same_identity"] == pytest.approx(0.4)
    assert facts["settings"]["recogniser"] == recogniser.fingerprint


def test_manifest(generated: Path) -> None:
    rows = [json.loads(line) for line in (generated / "manifest.jsonl").read_text().splitlines()]
    assert [(row["id"], row["sample"]) for row in rows] == [(person, i) for person in range(3) for i in range(4)]
    people = np.load(generated / "embeddings.npy").astype(float)
    for row in rows:
        own = people[row["id"]] @ people[row["id"]][row["sample"]]
        assert row["cos_to_first"] == pytest.approx(own[0], abs=1e-6)
        if row["sample"]:
            assert row["max_cos_dup"] == pytest.approx(own[: row["sample"]].max(), abs=1e-6)
        assert row["max_cos_known"] <= row["max_cos_gallery"] <= 0.4
        for file, digest in zip(row["files"], row["sha256"], strict=True):
            assert hashlib.sha256((generated / file).read_bytes()).hexdigest() == digest
    np.testing.assert_allclose(np.linalg.norm(np.load(generated / "identities.npy"), axis=1), 4, rtol=1e-6)
    rejections = json.loads((generated / "rejections.json").read_text())
    assert rejections["accepted"] == 3
    tried, broken = rejections["images_tried"], sum(rejections["images"].values())
    lost = tried - broken - len(rows)
    assert lost >= 0  # good images of people who were given up
    assert set(rejections["people"]) <= {"privacy", "separability", "attempts"}


def test_shards_train_a_recogniser(generated: Path) -> None:
    source = ShardSource(generated.parent / "shards")
    assert len(source) == 12
    assert source.modalities == ("image", "nir")
    assert source.classes == ["id_0", "id_1", "id_2"]
    for row in range(12):
        assert source.content(row) == (generated / source.metadata(row)["source"]).read_bytes()


def test_features_in_place_of_images(inputs: list[str], tmp_path: Path) -> None:
    files = dict(key.split("=", 1) for key in inputs)
    recogniser = Recogniser(Path(files["recogniser"]), None, 32, torch.device("cpu"))
    source = PairedFolders(files["source.root"])
    names = [Path(source.key(row)).name for row in range(len(source))]
    features = dict(zip(names, recogniser.embed(source, 4).tolist(), strict=True))
    (tmp_path / "known.json").write_text(json.dumps(features))
    keys = [key for key in inputs if not key.startswith("source")]
    generate(*keys, *without("ids=1"), "ids=1", f"known={tmp_path / 'known.json'}", f"out={tmp_path / 'a'}")
    generate(*inputs, *without("ids=1"), "ids=1", f"out={tmp_path / 'b'}")
    assert (tmp_path / "a/manifest.jsonl").read_bytes() == (tmp_path / "b/manifest.jsonl").read_bytes()
    (tmp_path / "short.json").write_text(json.dumps({"1_1.jpg": [0.5, 1.0]}))
    with pytest.raises(UserError, match="features of 2 numbers, but the recogniser makes 16"):
        generate(*keys, *SMALL, f"known={tmp_path / 'short.json'}", f"out={tmp_path / 'c'}")
    assert not (tmp_path / "c").exists()
