from __future__ import annotations

import io
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from support_gender import PAIRS, benchmark, embeddings, gender_set, people

from src.apps.overrides import check
from src.datamodules.gender_sets import GenderFaces, write_gender_bin
from src.errors import UserError
from src.eval import gender_attack, per_gender
from src.eval.benchmark import VerificationBenchmark
from src.eval.gender import attack
from src.eval.gender_attackers import Attackers
from src.eval.gender_benchmark import GenderBenchmark, gender_bin
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated, score_benchmarks
from src.eval.verification import verify

STANDARD = ("bacc_logreg", "bacc_svm", "bacc_rbf")


def score(strength: float = 1.0, **options: object) -> BenchmarkScore:
    return score_benchmarks({"toy": benchmark(**options)}, {"toy": embeddings(strength)}, show_progress=False)["toy"]


def evaluated(strength: float, **benchmarks: GenderBenchmark) -> Evaluated:
    collected = {name: embeddings(strength) for name in benchmarks}
    return Evaluated(collected, score_benchmarks(benchmarks, collected, show_progress=False))


def test_pairs_are_verified_as_ever() -> None:
    collected = embeddings()
    pairs = {view: rows[: 2 * PAIRS] for view, rows in collected.items()}
    expected = VerificationBenchmark(lambda: gender_set().pairs).score(pairs, 100)
    mine = benchmark().score(collected, 100)
    added = pairs["original"].double() + pairs["flipped"].double()
    eer = verify(added[0::2], added[1::2], gender_set().pairs.same, 3).folds.eer
    assert repr(mine.metrics) == repr(expected.metrics | {"eer_folds": eer})
    assert mine.intervals == expected.intervals
    assert mine.curves == expected.curves


def test_faces_are_attacked_without_their_mirror_images() -> None:
    collected = embeddings()
    result = attack(collected["original"][2 * PAIRS :], *people())
    privacy = score().privacy
    assert [privacy[name] for name in STANDARD] == list(result.balanced_accuracies.values())
    assert privacy["bacc"] == pytest.approx(np.mean(list(result.balanced_accuracies.values())))
    assert privacy["leakage"] == 2 * privacy["bacc"] - 1
    assert (privacy["attacker_auc"], privacy["v_information"]) == (result.auc, result.v_information)
    assert next(iter(privacy)) == "bacc"


def test_announces_the_metrics_it_gives() -> None:
    toy = GenderBenchmark(lambda: gender_set(pair_genders=True), attackers=("logreg", "svm", "rbf", "knn"))
    before, after = evaluated(1.0, toy=toy), {"toy": embeddings(0.1)}
    scored = score_benchmarks({"toy": toy}, after, unprotected=before, show_progress=False)["toy"]
    assert set(toy.metric_names) == set(scored.metrics) | set(scored.privacy)
    assert "bacc_knn" in scored.privacy
    assert set(per_gender.metric_names()) < set(scored.privacy)
    bare = GenderBenchmark(lambda: gender_set(faces=False))
    assert bare.metric_names == (*VerificationBenchmark(lambda: gender_set().pairs).metric_names, "eer_folds")


def test_what_protection_gained_and_lost() -> None:
    toy = benchmark()
    before, after = evaluated(0.4, toy=toy), {"toy": embeddings(0.0)}
    scored = score_benchmarks({"toy": toy}, after, unprotected=before, show_progress=False)["toy"].privacy
    pre, post = before.scores["toy"].privacy["bacc"], scored["bacc"]
    assert post < 0.6 < 0.7 < pre < 1
    assert scored["privacy_gain"] == pytest.approx((pre - post) / (1 - pre))
    assert scored["identity_loss"] == 0
    assert scored["pic"] == scored["privacy_gain"]
    assert scored["suppression_rate"] == pytest.approx((pre - post) / (pre - 0.5))
    assert "pic" not in before.scores["toy"].privacy


def test_the_naive_attacker_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    toy, trained = benchmark(), []
    before = evaluated(1.0, toy=toy)
    train = gender_attack.FoldAttack
    monkeypatch.setattr(gender_attack, "FoldAttack", lambda *args, **kw: trained.append(1) or train(*args, **kw))
    rows = [
        score_benchmarks({"toy": toy}, {"toy": embeddings(s)}, unprotected=before, show_progress=False)["toy"].privacy
        for s in (1.0, 0.0, -1.0)
    ]
    assert len(trained) == 1 + 3
    assert rows[0]["bacc_naive"] == pytest.approx(before.scores["toy"].privacy["bacc"])
    assert rows[1]["bacc_naive"] < 0.75
    assert rows[2]["bacc_naive"] < 0.1  # the genders changed places
    assert rows[2]["bacc"] == pytest.approx(rows[0]["bacc"], abs=0.1)


def test_templates_of_another_length() -> None:
    toy = benchmark()
    before, after = evaluated(0.4, toy=toy), {"toy": embeddings(0.4, size=8)}
    scored = score_benchmarks({"toy": toy}, after, unprotected=before, show_progress=False)["toy"].privacy
    assert math.isnan(scored["bacc_naive"])
    assert not math.isnan(scored["pic"])


def test_attackers_from_other_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def train(templates: np.ndarray, *arguments: object) -> Attackers:
        trained.append(len(templates))
        return Attackers(templates, *arguments)

    monkeypatch.setattr(gender_attack, "Attackers", train)
    benchmarks = {
        "a": benchmark(),
        "b": benchmark(),
        "c": benchmark(max_samples=40),
        "bare": GenderBenchmark(lambda: gender_set(faces=False)),
    }
    collected = {name: embeddings(1.0, seed=seed) for seed, name in enumerate("abc")}
    collected["b"]["original"][:, 0] *= -1
    collected["bare"] = {view: rows[: 2 * PAIRS] for view, rows in embeddings().items()}
    scores = score_benchmarks(benchmarks, collected, show_progress=False)
    assert sorted(trained) == [37, 60, 60]  # whole people only
    cross = {
        (target, name.removeprefix("bacc_cross@")): value
        for target, scored in scores.items()
        for name, value in scored.privacy.items()
        if "cross@" in name
    }
    assert set(cross) == {(one, other) for one in "abc" for other in "abc" if one != other}
    for (target, source), value in cross.items():
        assert value < 0.2 if "b" in (target, source) else value > 0.8


def test_a_set_without_faces_is_verified_only() -> None:
    bare = GenderBenchmark(lambda: gender_set(faces=False))
    pairs = {view: rows[: 2 * PAIRS] for view, rows in embeddings().items()}
    scored = score_benchmarks({"bare": bare}, {"bare": pairs}, 50, show_progress=False)["bare"]
    assert scored.privacy == {}
    assert scored.curves.projection is None
    assert scored.metrics["eer_folds"] < 0.3
    assert len(bare.images()) == 2 * PAIRS


def test_intervals_and_projection() -> None:
    scored = score_benchmarks({"toy": benchmark()}, {"toy": embeddings(0.2)}, 200, show_progress=False)["toy"]
    low, high = scored.intervals["bacc"]
    assert low < scored.privacy["bacc"] < high
    assert scored.curves.projection is not None
    assert scored.curves.projection.attribute == people()[1].tolist()
    alone = score_benchmarks({"toy": benchmark(attackers=["knn"])}, {"toy": embeddings()}, 200, show_progress=False)
    assert "bacc" not in alone["toy"].intervals
    assert alone["toy"].curves.projection is None


@pytest.mark.parametrize("in_domain", [True, False])
def test_whether_the_set_was_trained_on(in_domain: bool) -> None:
    assert score(in_domain=in_domain).privacy["in_domain"] == in_domain


def test_images_and_their_embeddings() -> None:
    toy = benchmark()
    assert len(toy.images()) == 2 * PAIRS + 60
    collected = embeddings()
    collector = toy.collector()
    for index in torch.randperm(len(toy.images())).split(50):
        collector.add(index, collected["original"][index], collected["flipped"][index])
    assert toy.score(collector.collect()).metrics["eer"] == toy.score(collected).metrics["eer"]
    with pytest.raises(UserError, match="toy: 179 embeddings for 180 images"):
        toy.score({view: rows[:-1] for view, rows in collected.items()})


def test_refuses_before_long_work() -> None:
    with pytest.raises(UserError, match="attackers: expected some of"):
        benchmark(attackers=["forest"])
    with pytest.raises(UserError, match="max_samples: expected at least 6 for 3 folds, or null; found 5"):
        benchmark(max_samples=5)
    with pytest.raises(UserError, match=r"toy: a gender attack in 5 folds needs .*found 4 female"):
        benchmark(folds=5).check()
    benchmark(folds=4).check()
    GenderBenchmark(lambda: gender_set(faces=False)).check()


def test_fingerprint_follows_the_faces() -> None:
    class Image:
        def digest(self) -> bytes:
            return b"image"

    images = [Image()] * 120
    subjects, attributes = people()
    made = replace(
        gender_set(),
        pairs=replace(gender_set().pairs, images=images),
        faces=GenderFaces(images[:60], subjects, attributes),
    )
    other = replace(made, faces=GenderFaces(images[:60], subjects, 1 - attributes))
    assert len({GenderBenchmark(lambda s=s: s, size).fingerprint for s in (made, other) for size in (8, 9)}) == 4


@pytest.mark.parametrize("name", ["", "_shifted", "_lfw", "_agedb_30", "_colorferet", "_vggface2"])
def test_configs_name_the_file_that_is_missing(name: str, tmp_path: Path) -> None:
    config = check("eval", ["experiment=arcface", f"benchmark=[gender{name}]", f"paths.benchmarks={tmp_path}"])
    (toy,) = instantiate(config.benchmark).values()
    assert isinstance(toy, GenderBenchmark)
    assert toy.size == 64
    with pytest.raises(UserError, match=r"\.bin: cannot be read"):
        toy.check()


def test_a_file(tmp_path: Path) -> None:
    images = []
    for shade in range(24):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (shade * 9,) * 3).save(buffer, "PNG")
        images.append(buffer.getvalue())
    people, codes = [f"person {n // 2}" for n in range(12)], [n // 2 % 2 for n in range(12)]
    write_gender_bin(tmp_path / "a.bin", images[:8], [True, False] * 2, images[8:20], people, codes)
    toy = gender_bin(tmp_path / "a.bin", 8, pair_folds=2, gender_codes={"0": 1, "1": 0}, attackers=["logreg"], folds=3)
    toy.check()
    assert toy.gender_set.faces is not None
    assert toy.gender_set.faces.attributes.tolist() == [1 - code for code in codes]
    assert toy.images()[8]["image"].unique().tolist() == [72]


def test_travels_to_other_processes() -> None:
    toy = benchmark()
    before = evaluated(1.0, toy=toy)
    score_benchmarks({"toy": toy}, {"toy": embeddings(0.0)}, unprotected=before, show_progress=False)
    assert pickle.loads(pickle.dumps(toy)).score(embeddings()).metrics["eer"] == toy.score(embeddings()).metrics["eer"]


def test_codes_are_refused() -> None:
    toy = benchmark()
    assert toy.collector() is not None
    with pytest.raises(UserError, match="from embeddings, not from codes"):
        toy.collector(8)
