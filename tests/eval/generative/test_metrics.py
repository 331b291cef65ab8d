from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.eval.generative.distances import frechet_distance, kernel_distance
from src.eval.generative.edges import edge_agreement
from src.eval.generative.features import RecogniserClasses, RecogniserFeatures
from src.eval.generative.identities import identity_scores
from src.eval.generative.membership import nearest_similarities
from src.eval.generative.metrics import GenerativeMetrics, join_rows
from src.eval.generative.precision_recall import precision_and_recall


class Pooled(nn.Module):
    """Twelve features: mean colour of quarters."""

    size = None

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def faces(count: int, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    grey = torch.randint(256, (count, 1, 8, 8), generator=random) / 127.5 - 1
    tint = torch.randint(256, (count, 3, 1, 1), generator=random) / 127.5 - 1
    return ((grey + tint) / 2 * 127.5 + 127.5).round() / 127.5 - 1, grey


def filled(extractors: dict[str, nn.Module], batch_size: int = 16, nir: bool = True) -> GenerativeMetrics:
    metrics = GenerativeMetrics(extractors)
    for seed, real in ((0, True), (1, False)):
        for vis, infrared in zip(*(images.split(batch_size) for images in faces(40, seed)), strict=True):
            metrics.add(vis, infrared if nir else None, real=real)
    return metrics


def classes() -> RecogniserClasses:
    return RecogniserClasses(Pooled(), torch.randn(5, 12, generator=torch.Generator().manual_seed(0)))


def test_names() -> None:
    found = filled({"toy": Pooled(), "people": classes()}).compute()
    both = ("fid", "kid", "precision", "recall")
    expected = {f"{metric}{suffix}@{name}" for metric in both for suffix in ("", "_NIR") for name in ("toy", "people")}
    expected |= {f"{metric}{suffix}@people" for metric in ("is", "is_std") for suffix in ("", "_NIR")}
    expected |= {f"edge_agreement{kind}{suffix}" for kind in ("", "_shuffled") for suffix in ("", "_real")}
    assert set(found) == expected


def test_are_those_of_the_features() -> None:
    found = filled({"toy": Pooled()}).compute()
    real, generated = (Pooled()(faces(40, seed)[0]) for seed in (0, 1))
    assert found["fid@toy"] == pytest.approx(frechet_distance(real, generated), rel=1e-4)
    assert found["kid@toy"] == pytest.approx(kernel_distance(real, generated), rel=1e-3)
    assert (found["precision@toy"], found["recall@toy"]) == precision_and_recall(real, generated)
    infrared = [Pooled()(faces(40, seed)[1].expand(-1, 3, -1, -1)) for seed in (0, 1)]
    assert found["fid_NIR@toy"] == pytest.approx(frechet_distance(*infrared), rel=1e-4)
    pairs, shuffled = edge_agreement(*faces(40, 1))
    assert found["edge_agreement"] == pytest.approx(float(pairs.mean()), abs=1e-3)
    assert found["edge_agreement_shuffled"] == pytest.approx(float(shuffled.mean()), abs=1e-3)


def test_batches_do_not_matter() -> None:
    expected = filled({"people": classes()}).compute()
    assert filled({"people": classes()}, batch_size=7).compute() == pytest.approx(expected, rel=1e-4)


def test_visible_light_alone() -> None:
    found = filled({"toy": Pooled()}, nir=False).compute()
    assert set(found) == {"fid@toy", "kid@toy", "precision@toy", "recall@toy"}


def test_generated_images_are_judged_as_stored() -> None:
    exact, loud = filled({"toy": Pooled()}), GenerativeMetrics({"toy": Pooled()})
    loud.add(*faces(40, 0), real=True)
    vis, nir = faces(40, 1)
    loud.add(vis + 0.003 * (vis < 0.9), torch.where(nir == 1, 9.0, nir), real=False)
    assert loud.compute() == pytest.approx(exact.compute(), rel=1e-5)


def test_generated_images_can_be_forgotten() -> None:
    metrics = filled({"people": classes()})
    expected = metrics.compute()
    metrics.forget_generated()
    with pytest.raises(UserError, match="vis: expected real and generated images, found 40 and 0"):
        metrics.compute()
    metrics.add(*faces(40, 1), real=False)
    assert metrics.compute() == pytest.approx(expected, rel=1e-4)


def test_only_what_is_asked_for() -> None:
    metrics = GenerativeMetrics({"people": classes()}, metrics=["fid"])
    for real in (True, False):
        metrics.add(faces(20, 0)[0], real=real)
    assert metrics.compute() == {"fid@people": pytest.approx(0, abs=1e-9)}
    with pytest.raises(UserError, match="metrics: expected fid, kid, precision_recall or inception_score, found 'ppl'"):
        GenerativeMetrics({}, metrics=["ppl"])


PEOPLE = torch.arange(10).repeat_interleave(2)


def with_people(batch_size: int = 20) -> GenerativeMetrics:
    metrics = GenerativeMetrics({"toy": Pooled(), "people": RecogniserFeatures(Pooled())})
    for (vis, nir), real in ((faces(40, 0), True), (faces(40, 1), False)):
        metrics.add(vis, nir, real=real, labels=torch.arange(40) % 8 if real else None)
    for vis, labels in zip(faces(20, 2)[0].split(batch_size), PEOPLE.split(batch_size), strict=True):
        metrics.add_identities(vis, labels)
    return metrics


def test_identities_are_told_apart_by_recognisers_alone() -> None:
    metrics = with_people()
    found = metrics.compute()
    embeddings = Pooled()(faces(20, 2)[0])
    expected = identity_scores(embeddings, PEOPLE).metrics
    for name in ("eer", "auc", "genuine_mean", "genuine_std", "impostor_mean", "impostor_std", "fdr", "decidability"):
        assert found[f"{name}@people"] == pytest.approx(expected[name], rel=1e-4)
        assert f"{name}@toy" not in found
    nearest = nearest_similarities(embeddings, Pooled()(faces(40, 0)[0]))
    assert found["nearest_training@people"] == pytest.approx(nearest.mean(), rel=1e-5)
    assert found == pytest.approx(with_people(batch_size=7).compute(), rel=1e-4)
    assert set(metrics.names) == {name for name in found if not name.endswith("_real")}


def test_real_people_are_told_apart_where_they_are_known() -> None:
    metrics = with_people()
    real = metrics.identities(real=True)["people"].curve
    assert (len(real.genuine), len(real.impostor)) == (8 * 10, 40 * 39 // 2 - 80)
    assert filled({"people": RecogniserFeatures(Pooled())}).identities(real=True) == {}


def test_synthetic_people_can_be_forgotten() -> None:
    metrics = with_people()
    metrics.forget_generated()
    assert metrics.identities(real=False) == {}
    metrics.add(*faces(40, 1), real=False)
    assert "eer@people" not in metrics.compute()


def test_identities_without_two_images_of_one_are_not_measured() -> None:
    metrics = GenerativeMetrics({"people": RecogniserFeatures(Pooled())})
    metrics.add_identities(faces(4, 0)[0], torch.arange(4))
    assert metrics.identities(real=False) == {}


def test_networks_do_not_learn() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4)).train()
    metrics = GenerativeMetrics({"toy": network})
    metrics.add(*faces(8, 0), real=True)
    assert not network.training
    assert network[2].running_mean.abs().max() == 0


class Replayed:
    """Another process beside this one, which has ``other``."""

    def __init__(self, other: list[Tensor]) -> None:
        self.other = iter(other)

    def rows(self, share: Tensor) -> Tensor:
        return torch.cat([share, next(self.other)])

    def sum(self, share: Tensor) -> Tensor:
        raise NotImplementedError


def test_joins_processes_of_different_shares() -> None:
    padded = torch.tensor([[5.0], [6.0], [0.0]])
    processes = Replayed([torch.tensor([2]), padded])
    joined = join_rows([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0]])], processes)
    assert joined is not None
    assert joined.flatten().tolist() == [1, 2, 3, 5, 6]
    assert join_rows([], Replayed([torch.tensor([-1])])) is None
    with pytest.raises(UserError, match="1 of 2 processes took no images"):
        join_rows([], Replayed([torch.tensor([4])]))
