from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from support_codes import codes_of, face_vectors

from src.apps.overrides import CONF
from src.datamodules.identification_sets import IdentificationSet
from src.errors import UserError
from src.eval.matching import ProtectedMatcher, SymbolMatcher
from src.eval.retrieval_benchmark import RetrievalBenchmark
from tests.support import unread_images

LABELS = np.repeat(np.arange(40), np.arange(40) % 12 + 3)  # 3 to 14 images of each


def benchmark(**options: object) -> RetrievalBenchmark:
    def read() -> IdentificationSet:
        return IdentificationSet("toy", unread_images(len(LABELS)), LABELS)

    return RetrievalBenchmark(read, gallery_images=6, probe_images=4, **options)  # type: ignore[arg-type]


def test_only_images_of_the_split_are_embedded() -> None:
    toy = benchmark()
    toy.check()
    split = toy.split
    assert len(toy.images()) == len(split.gallery) + len(split.probes) < len(LABELS)
    assert np.array_equal(toy.faces.labels, LABELS[np.concatenate([split.gallery, split.probes])])
    assert benchmark().fingerprint == toy.fingerprint != benchmark(seed=1).fingerprint


def test_metrics_of_embeddings_and_codes() -> None:
    toy = benchmark()
    labels = torch.from_numpy(toy.faces.labels)
    vectors = {view: face_vectors(labels, 0.2, seed) for seed, view in enumerate(("original", "flipped"))}
    score = toy.score(vectors, resamples=200)
    assert tuple(score.metrics) == toy.metric_names
    assert score.metrics["rank1"] == score.metrics["recognition@1"] == score.curves.cmc[0]
    assert 0.5 < score.metrics["map@50"] < 1
    for name, (low, high) in score.intervals.items():
        assert low <= score.metrics[name] <= high
    codes = codes_of(labels, 0.2, m=128)
    by_symbols = toy.score(codes, matcher=SymbolMatcher(8)).metrics
    assert 0.3 < by_symbols["map@50"] < score.metrics["map@50"]
    assert toy.score(codes, matcher=ProtectedMatcher(8)).metrics == by_symbols
    # Codes can also be compared as vectors, as Dong et al. do.
    assert toy.score(codes).metrics["map@50"] < by_symbols["map@50"]


def test_perfect_and_hopeless_retrieval() -> None:
    toy = benchmark(flip="none")
    labels = torch.from_numpy(toy.faces.labels)
    perfect = toy.score({"original": torch.nn.functional.one_hot(labels).float()})
    assert set(perfect.metrics.values()) == {1.0}
    assert perfect.curves.false_matches == []
    chance = toy.score({"original": torch.randn(len(labels), 16, generator=torch.Generator().manual_seed(0))})
    assert chance.metrics["rank1"] < 0.15
    pairs = chance.curves.false_matches
    assert len(pairs) == 12
    assert all(pair.first >= len(toy.split.gallery) > pair.second for pair in pairs)
    assert all(labels[pair.first] != labels[pair.second] for pair in pairs)
    assert [pair.score for pair in pairs] == sorted((pair.score for pair in pairs), reverse=True)


def test_collects_codes() -> None:
    toy = benchmark()
    codes = codes_of(torch.from_numpy(toy.faces.labels), 0.5)
    collector = toy.collector(8)
    collector.add(torch.arange(len(toy.images())), codes["original"], codes["flipped"])
    collected = collector.collect()
    assert all(torch.equal(collected[view], codes[view]) for view in codes)


@pytest.mark.parametrize(
    ("name", "videos", "images"), [("ytf_retrieval", ["1/", "3/"], 4 + 5), ("facescrub_retrieval", [""], 3 + 5)]
)
def test_folders(name: str, videos: list[str], images: int, tmp_path: Path) -> None:
    for person in ("Aaron", "Bea"):
        for video in videos:
            (tmp_path / person / video).mkdir(parents=True, exist_ok=True)
            for number in range(8):
                Image.new("L", (8, 8), number).save(tmp_path / person / video / f"{number}.jpg")
    config = OmegaConf.merge(
        OmegaConf.load(CONF / "benchmark" / f"{name}.yaml"),
        {"paths": {"benchmarks": "nowhere"}, "datamodule": {"size": 16}},
        {name: {"root": str(tmp_path), "gallery_images": 4}},
    )
    read = instantiate(config[name])
    read.check()
    assert np.bincount(read.faces.labels).tolist() == [images, images]
    with pytest.raises(UserError, match="holds no images"):
        instantiate(config[name], root=str(tmp_path / "Aaron")).check()
