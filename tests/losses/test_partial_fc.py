from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from src.errors import UserError
from src.losses.adaptive_heads import AdaFaceHead, CurricularFaceHead, MagFaceHead
from src.losses.class_shard import ClassShard
from src.losses.elastic_heads import ElasticArcFaceHead
from src.losses.heads import ArcFaceHead, CombinedMarginHead, CosFaceHead, MarginHead, NormalizedSoftmaxHead
from src.losses.partial_fc import PartialFC, check_shardable
from src.losses.sphereface_heads import SphereFaceHead, SphereFaceRHead

BATCH, SIZE, CLASSES = 12, 6, 10
HEADS: dict[str, Callable[..., MarginHead]] = {
    "arcface": ArcFaceHead,
    "arcface_exact": partial(ArcFaceHead, margin_gradient="exact", guard="linear"),
    "filtered": partial(ArcFaceHead, filter_threshold=0.4),
    "cosface": CosFaceHead,
    "softmax": NormalizedSoftmaxHead,
    "combined": partial(CombinedMarginHead, m1=0.9, m2=0.4, m3=0.15),
    "elastic": partial(ElasticArcFaceHead, margin=0.5, sigma=0.0),
    "adaface": AdaFaceHead,
    "magface": MagFaceHead,
    "sphereface_r": SphereFaceRHead,
}
# Rows of each process: uneven, and one process without any.
ROWS = {1: [12], 2: [5, 7], 3: [4, 0, 8]}


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator)
    return 12 * draw(BATCH, SIZE), draw(CLASSES, SIZE), torch.randint(CLASSES, (BATCH,), generator=generator)


def dense(name: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    embedding, weight, target = batch()
    head = HEADS[name](embedding_size=SIZE, num_classes=CLASSES).to(dtype)
    head.weight.data = weight.to(dtype)
    embedding = embedding.to(dtype).requires_grad_()
    output = head(embedding, target)
    output.loss.backward()
    return gradients(output.loss, output.target_cosine, embedding, head)


def gradients(loss: Tensor, cosine: Tensor, embedding: Tensor, head: MarginHead) -> dict[str, Tensor]:
    assert embedding.grad is not None
    assert head.weight.grad is not None
    buffers = {name: buffer.clone() for name, buffer in head.named_buffers()}
    return {
        "loss": loss.detach(), "cosine": cosine, "embedding": embedding.grad, "weight": head.weight.grad, **buffers
    }  # fmt: skip


def shared(name: str, shard: ClassShard, rows: slice, sample_rate: float = 1.0, **options: object) -> dict[str, Tensor]:
    embedding, weight, target = batch()
    head = HEADS[name](embedding_size=SIZE, num_classes=len(shard))
    head.weight.data = weight[shard.start : shard.stop].clone()
    embedding = embedding[rows].clone().requires_grad_()
    output = PartialFC(head, shard, sample_rate, **options)(embedding, target[rows])  # type: ignore[arg-type]
    output.loss.backward()
    return gradients(output.loss, output.target_cosine, embedding, head)


def check(found: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("name", HEADS)
def test_one_process_computes_the_loss_of_the_whole_head(name: str) -> None:
    found, expected = shared(name, ClassShard(CLASSES, 0, 1), slice(None)), dense(name)
    for key, value in expected.items():
        check(found[key], value, key)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_have_the_loss_and_gradients_of_the_whole_head(count: int, tmp_path: Path) -> None:
    """Specification, section 8, check 11; the mean over processes, as data-parallel training takes it."""
    multiprocessing.spawn(_worker, (tmp_path, count), nprocs=count)
    for name in HEADS:
        shares = [torch.load(tmp_path / f"{name}_{rank}.pt", weights_only=True) for rank in range(count)]
        expected = dense(name)
        found = {
            "weight": torch.cat([share["weight"] for share in shares]),
            "embedding": torch.cat([share["embedding"] for share in shares]) / count,
        }
        for key, value in expected.items():
            for share in [found] if key in found else shares:
                check(share[key], value, f"{name} {key}")
    draws = [torch.load(tmp_path / f"sampled_{rank}.pt", weights_only=True) for rank in range(count)]
    assert all(torch.equal(draw["loss"], draws[0]["loss"]) for draw in draws)


def _worker(rank: int, folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    first = sum(ROWS[count][:rank])
    rows = slice(first, first + ROWS[count][rank])
    shard = ClassShard.of_this_process(CLASSES)
    for name in HEADS:
        torch.save(shared(name, shard, rows), folder / f"{name}_{rank}.pt")
    torch.save(shared("arcface", shard, rows, sample_rate=0.5), folder / f"sampled_{rank}.pt")
    distributed.destroy_process_group()


def test_a_loss_of_nearly_zero_and_one_of_a_hopeless_row_are_exact() -> None:
    """The reference caps the loss at 69; specification, section 5."""
    head = NormalizedSoftmaxHead(embedding_size=2, num_classes=2)
    head.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    share = PartialFC(head, ClassShard(2, 0, 1))
    for target, expected in ((0, 0.0), (1, 128.0)):
        loss = share(torch.tensor([[3.0, 0.0]]), torch.tensor([target])).loss
        torch.testing.assert_close(loss, torch.tensor(expected))


def test_classes_that_were_not_drawn_get_no_gradient() -> None:
    found = shared("arcface", ClassShard(CLASSES, 0, 1), slice(0, 2), sample_rate=0.5)
    _, _, target = batch()
    touched = found["weight"].abs().sum(1).nonzero().flatten()
    assert len(touched) == 5
    assert set(target[:2].tolist()) <= set(touched.tolist())


def test_the_draws_follow_from_seed_and_number() -> None:
    def losses(seed: int, skipped: int) -> list[float]:
        embedding, weight, target = batch()
        head = ArcFaceHead(SIZE, CLASSES)
        head.weight.data = weight
        share = PartialFC(head, ClassShard(CLASSES, 0, 1), 0.8, seed)
        share.draws = skipped
        return [float(share(embedding[:1], target[:1]).loss.detach()) for _ in range(6 - skipped)]

    assert losses(0, 0)[2:] == losses(0, 2)
    assert losses(0, 0) != losses(1, 0)
    assert len(set(losses(0, 0))) > 1


def test_half_precision_is_not_multiplied_in() -> None:
    embedding, weight, target = batch()
    head = ArcFaceHead(SIZE, CLASSES)
    head.weight.data = weight
    share = PartialFC(head, ClassShard(CLASSES, 0, 1))
    embedding = embedding.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = share(embedding, target).loss
    torch.testing.assert_close(loss, head(embedding.float(), target).loss)


@pytest.mark.parametrize("head", [CurricularFaceHead, SphereFaceHead])
def test_heads_that_cannot_be_shared_out_say_so(head: type[MarginHead]) -> None:
    with pytest.raises(UserError, match=f"{head.__name__} changes more than .* loss=adaface, arcface"):
        check_shardable(head(2, 2), 1.0)


def test_the_rate_is_a_share() -> None:
    with pytest.raises(UserError, match=r"model\.partial_fc=1\.5: expected a share from 0 to 1"):
        check_shardable(ArcFaceHead(2, 2), 1.5)
