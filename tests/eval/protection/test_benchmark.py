from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from support_protection import LIGHT, coded_faces

from src.apps.overrides import check
from src.datamodules.identification_sets import IdentificationSet
from src.errors import UserError
from src.eval.protection.benchmark import ProtectionBenchmark, class_folders
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated, PrivacyBenchmark, score_benchmarks

FACES = coded_faces()
REAL_DATA = Path(os.environ.get("PRIVFACE_REAL_DATA", Path(__file__).parents[4] / "shared" / "data" / "lfw-small"))


def benchmark(labels: np.ndarray = FACES.labels, **options: object) -> ProtectionBenchmark:
    options = {"people": 40, "images": 5, "attacks": LIGHT} | options
    return ProtectionBenchmark(
        lambda: IdentificationSet("toy", [str(n) for n in range(len(labels))], labels), **options
    )


def before() -> Evaluated:
    return Evaluated({"toy": {"original": FACES.embeddings}}, {"toy": BenchmarkScore({})})


def score(**options: object) -> BenchmarkScore:
    collected = {"toy": {"original": torch.from_numpy(FACES.codes)}}
    return score_benchmarks({"toy": benchmark()}, collected, show_progress=False, **options)["toy"]


def test_codes_are_attacked() -> None:
    scored = score(unprotected=before(), rank_hash=FACES.rank_hash)
    assert isinstance(benchmark(), PrivacyBenchmark)
    assert scored.metrics == {}
    assert tuple(scored.privacy) == benchmark().metric_names
    assert scored.privacy["dsys_stores"] > 0.9
    assert scored.privacy["linear_match"] > 0.7
    assert scored.curves.protection is not None


def test_embeddings_that_the_codes_are_not_of_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    others = Evaluated({"toy": {"original": FACES.embeddings.flip(0)}}, {"toy": BenchmarkScore({})})
    assert score(unprotected=others, rank_hash=FACES.rank_hash) == BenchmarkScore({})
    assert "the codes are of another backbone" in caplog.text
    assert score(unprotected=before()) == BenchmarkScore({})
    assert "model.code_mode=argmax" in caplog.text


def test_where_there_are_no_codes_nothing_is_measured() -> None:
    assert score(unprotected=before()) == BenchmarkScore({})
    assert score(rank_hash=FACES.rank_hash) == BenchmarkScore({})
    embeddings = {"toy": {"original": FACES.embeddings}}
    assert score_benchmarks({"toy": benchmark()}, embeddings, show_progress=False)["toy"] == BenchmarkScore({})


def test_people_with_several_images_are_drawn() -> None:
    labels = np.random.default_rng(0).permutation(np.concatenate([np.repeat(np.arange(50), 7), np.arange(50, 90)]))
    toy = benchmark(labels, people=20, images=4)
    assert len(toy.images()) == len(toy.faces.labels) == 80
    chosen, counts = np.unique(toy.faces.labels, return_counts=True)
    assert len(chosen) == 20
    assert set(counts.tolist()) == {4}
    assert chosen.max() < 50
    first = np.flatnonzero(labels == chosen[0])[:4]
    assert [toy.faces.images[n] for n in np.flatnonzero(toy.faces.labels == chosen[0])] == [str(n) for n in first]
    assert toy.faces.images == benchmark(labels, people=20, images=4).faces.images
    assert len(toy.pairs) == 20 * 6


def test_collects_codes_and_embeddings() -> None:
    toy = benchmark()
    for alphabet, expected in ((8, torch.from_numpy(FACES.codes)), (None, FACES.embeddings)):
        collector = toy.collector(alphabet)
        for index in torch.randperm(len(toy.images())).split(64):
            collector.add(index, expected[index], expected[index])
        assert torch.equal(collector.collect()["original"], expected)
    assert not toy.needs_mirror_images


def test_the_fingerprint_follows_the_choice() -> None:
    class Image:
        def digest(self) -> bytes:
            return b"image"

    def of(**options: int) -> str:
        labels = np.repeat(np.arange(30), 6)
        return ProtectionBenchmark(lambda: IdentificationSet("toy", [Image()] * 180, labels), **options).fingerprint

    assert len({of(), of(size=64), of(people=20), of(images=3)}) == 4
    assert of() == of()


def test_refuses() -> None:
    with pytest.raises(UserError, match=r"toy: 9 people with 90 pairs .* it takes two people and 100 such pairs"):
        benchmark(np.repeat(np.arange(9), 5)).check()
    with pytest.raises(UserError, match="two people and two images of each or more, found people=40, images=1"):
        benchmark(images=1)
    with pytest.raises(UserError, match="toy: 199 embeddings for 200 images"):
        benchmark().score({"original": FACES.embeddings[1:]})
    benchmark().check()


def test_travels_to_other_processes(tmp_path: Path) -> None:
    toy = class_folders(tmp_path, 112, attacks=LIGHT)
    assert pickle.loads(pickle.dumps(toy)).metric_names == toy.metric_names


def test_the_config_names_the_folder_that_is_missing(tmp_path: Path) -> None:
    config = check("eval", ["experiment=arcface", "benchmark=[protection]", f"paths.benchmarks={tmp_path}"])
    (toy,) = instantiate(config.benchmark).values()
    assert isinstance(toy, ProtectionBenchmark)
    assert toy.metric_names == ProtectionBenchmark(list).metric_names
    with pytest.raises(UserError, match=str(tmp_path / "lfw")):
        toy.check()
    config.benchmark.protection.attacks.keys = 1
    with pytest.raises(Exception, match="keys: expected at least 2, found 1"):
        instantiate(config.benchmark)


@pytest.mark.skipif(not REAL_DATA.exists(), reason=f"no real photographs at {REAL_DATA}")
def test_real_photographs() -> None:
    toy = class_folders(REAL_DATA, 112, people=100)
    toy.check()
    assert len(toy.images()) > 800
    assert toy.images()[0]["image"].shape == (112, 112, 3)
