"""The training of the password transformer: order of the steps, what learns from what, and continuation."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from support_password import GOLDEN, bits, filled, filled_recogniser, image
from support_password_training import faces, fit, transformer_module
from torch import Tensor, distributed, multiprocessing, nn

from src.errors import UserError
from src.losses.password import GanWeights, IdentityWeights, PasswordLoss, PasswordWeights
from src.models.networks.password_transformer import (
    AlignedRecogniser,
    Discriminators,
    PasswordPredictor,
    PasswordTransformer,
)
from src.models.networks.password_transformer.calibration import calibrate, calibration
from src.models.networks.password_transformer.passes import transform
from src.models.networks.password_transformer.sampling import DrawnPasswords, draw_passwords
from src.models.password_optimization import AdamRates
from src.models.password_transformer import FaceBatch, FaceIdentityTransformer

pytestmark = pytest.mark.filterwarnings("ignore")

MAKERS, JUDGES = ("transformer", "predictor"), ("discriminators", "recogniser", "head")
NOTHING = PasswordWeights(
    gan=GanWeights(total=0.0), fr=IdentityWeights(total=0.0), aux=0.0, feat_a=0.0, feat_wr=0.0, feat_a_wr=0.0,
    l1_a=0.0, l1_wr=0.0, rec=0.0,
)  # fmt: skip
FAST = AdamRates(g_lr=3e-3, q_lr=3e-3)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def batch(module: FaceIdentityTransformer, size: int = 4) -> FaceBatch:
    sample = faces().example_batch(size)
    grid = module.recogniser.alignment.grid(sample["landmarks"], (64, 64))
    return FaceBatch(sample["image"], sample["label"], grid)


class Watch(L.Callback):
    """Keeps the weights before and after both steps of an iteration, and the gradients that each left."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.gradients: list[set[str]] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(lambda *_: self.keep(pl_module))
        self.keep(pl_module)

    def keep(self, module: nn.Module) -> None:
        self.states.append(weights(module))
        self.gradients.append({name for name, value in module.named_parameters() if value.grad is not None})


def test_judges_learn_first_and_makers_from_what_they_have_learnt(tmp_path: Path) -> None:
    watch = Watch()
    trainer = fit(transformer_module(), tmp_path, 1, callbacks=[watch])
    assert trainer.global_step == 1
    before, between, after = watch.states
    for first, second, learnt in ((before, between, JUDGES), (between, after, MAKERS)):
        changed = {name.split(".")[0] for name, value in second.items() if not torch.equal(value, first[name])}
        assert changed - {"head"} == set(learnt) - {"head"}  # the head counts its calls in both steps
    assert torch.equal(after["head.weight"], between["head.weight"])
    assert not any(name.startswith(MAKERS) for name in watch.gradients[1])


def test_recogniser_keeps_its_statistics(tmp_path: Path) -> None:
    module = transformer_module()
    before = weights(module)
    fit(module, tmp_path, 2)
    assert not module.recogniser.training
    name = "recogniser.backbone.features.running_mean"
    assert torch.equal(module.state_dict()[name], before[name])


def test_frozen_recogniser(tmp_path: Path) -> None:
    module = transformer_module(optim=AdamRates(fr_lr=0.0))
    module.prepare(4)
    before = weights(module)
    fit(module, tmp_path, 2)
    after = weights(module)
    still = {name for name in after if name.startswith(("recogniser", "head.weight"))}
    assert all(torch.equal(after[name], before[name]) for name in still)
    assert not torch.equal(after["transformer.model.1.weight"], before["transformer.model.1.weight"])


def test_margin_is_annealed_by_seven_calls_in_a_step(tmp_path: Path) -> None:
    module = transformer_module()
    fit(module, tmp_path, 2)
    assert module.head is not None
    assert module.head.iteration == 14
    continued = transformer_module()
    fit(continued, tmp_path, 3, checkpoint=tmp_path / "last.ckpt")
    assert continued.head is not None
    assert continued.head.iteration == 21


def test_a_whole_iteration_is_the_published_one() -> None:
    """All scalars of the golden iteration, as the module computes them; the judges stay as they are."""
    backbone, head = filled_recogniser()
    module = FaceIdentityTransformer(
        filled(PasswordTransformer(channels=16)), filled(Discriminators(channels=16)),
        filled(PasswordPredictor(channels=16)), AlignedRecogniser(backbone, "normalized"), lambda **_: head,
        PasswordLoss(), pool_size=0,
    )  # fmt: skip
    module.prepare(10574)
    module.float().train()
    for pool in module.pools.values():
        pool.query = lambda images, count: images[:count]  # type: ignore[method-assign]
    points = torch.tensor([case["landmarks"] for case in GOLDEN["alignment"][:2]]) * 128 / 250
    given = FaceBatch(
        image(2, 3, 128, 128).float(), torch.tensor([5, 7]), module.recogniser.alignment.grid(points, (128, 128))
    )
    drawn = DrawnPasswords(bits(0xBEEF, 0x1234), bits(0x0F0F, 0xAAAA), bits(0x00FF, 0x7777), bits(0x3C3C, 0x9001))
    made = transform(module.transformer, given.images, drawn)
    found = module.judge(given, made).parts | module.make(given, made, drawn).parts
    expected = GOLDEN["full_iteration"]["losses"]
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_gradient_reaches_the_first_pass_through_the_second() -> None:
    module = transformer_module(PasswordWeights(**{**NOTHING.__dict__, "rec": 1.0}))
    module.prepare(4)
    given, drawn = batch(module), draw_passwords(4, 16)
    made = transform(module.transformer, given.images, drawn)
    made.anonymised.retain_grad()
    made.recovered.retain_grad()
    module.make(given, made, drawn).total.backward()
    for images in (made.anonymised, made.recovered):
        assert images.grad is not None
        assert images.grad.abs().max() > 0


def test_recovery_is_learnt() -> None:
    """Two faces, pixels alone: the error falls to less than half of what it was."""
    torch.manual_seed(0)
    transformer = PasswordTransformer(channels=8, blocks=1, conditioning="film", norm="group")
    images, drawn = 0.9 * image(2, 3, 16, 16).float(), draw_passwords(2, 16)
    optimizer = torch.optim.Adam(transformer.parameters(), lr=3e-3)
    errors = []
    for _ in range(150):
        made = transform(transformer, images, drawn)
        recovered, *others = ((faces - images).abs().mean() for faces in (made.recovered, made.anonymised, made.wrong))
        optimizer.zero_grad()
        (100 * recovered + 10 * sum(others)).backward()
        optimizer.step()
        errors.append(float(recovered))
    assert errors[-1] < 0.5 * errors[0]


def test_passwords_get_legible() -> None:
    """With nothing but the predictor to please, more than half of the groups are soon told."""
    module = transformer_module(PasswordWeights(**{**NOTHING.__dict__, "aux": 1.0}), optim=FAST)
    module.prepare(4)
    module.train()
    given, drawn = batch(module), draw_passwords(4, 16)
    makers, _ = module.configure_optimizers()
    for _ in range(30):
        output = module.make(given, transform(module.transformer, given.images, drawn), drawn)
        module._learn(output.total, makers)
    assert output.parts["dis_acc"] > 0.5


@pytest.mark.parametrize("transformer", [{}, {"conditioning": "planes", "norm": "batch"}])
def test_killed_and_continued_gives_the_same_weights(tmp_path: Path, transformer: dict[str, str]) -> None:
    whole = transformer_module(transformer=transformer)
    fit(whole, tmp_path / "whole", 5)
    fit(transformer_module(transformer=transformer), tmp_path / "killed", 3)  # its checkpoint is of the second step
    torch.manual_seed(9)
    continued = transformer_module(transformer=transformer)
    trainer = fit(continued, tmp_path / "killed", 5, checkpoint=tmp_path / "killed" / "last.ckpt")
    assert trainer.global_step == 5
    expected, found = weights(whole), weights(continued)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    one, other = (module.pools["WR"].state_dict()["images"] for module in (whole, continued))
    assert torch.equal(one, other)


def test_pools_may_stay_out_of_checkpoints(tmp_path: Path) -> None:
    fit(transformer_module(save_pools=False), tmp_path, 2)
    assert "pools" not in torch.load(tmp_path / "last.ckpt", weights_only=True)


def test_calibration_is_part_of_the_checkpoint(tmp_path: Path) -> None:
    options = {"conditioning": "planes", "norm": "batch"}
    module = transformer_module(transformer=options)
    trainer = fit(module, tmp_path, 1)
    assert "bn_stats" not in torch.load(_saved(trainer, tmp_path), weights_only=True)
    calibrate(module.transformer, [faces().example_batch(16)["image"]] * 16)
    path = _saved(trainer, tmp_path)
    stored = torch.load(path, weights_only=True)["bn_stats"]
    assert stored.keys() == calibration(module.transformer).keys()
    continued = transformer_module(transformer=options)
    fit(continued, tmp_path, 1, checkpoint=path)
    assert torch.equal(calibration(continued.transformer)["model.2.running_mean"], stored["model.2.running_mean"])


def _saved(trainer: L.Trainer, folder: Path) -> Path:
    trainer.save_checkpoint(folder / "saved.ckpt")
    return folder / "saved.ckpt"


def test_numbers_that_overflow_end_the_training(tmp_path: Path) -> None:
    class Spoil(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
            if trainer.global_step == 2:
                pl_module.get_parameter("transformer.model.1.weight").data[0] = torch.nan

    with pytest.raises(UserError, match=r"training stopped in step 3: not finite are .*D_FR_M") as error:
        fit(transformer_module(), tmp_path, 4, callbacks=[Spoil()])
    assert "ckpt_path=last" in str(error.value)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


class TestMistakes:
    def test_data(self) -> None:
        module = transformer_module()
        with pytest.raises(UserError, match=r"datamodule\.fields: expected image, label, landmarks"):
            module.check_ready(faces(fields=("image", "label")))
        with pytest.raises(UserError, match=r"datamodule\.size=66: expected a multiple of 4"):
            module.check_ready(faces(size=66))
        with pytest.raises(UserError, match=r"datamodule\.size=48: expected at least 64"):
            module.check_ready(faces(size=48))

    def test_precision(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"trainer\.precision=64-true: expected 32-true or bf16-mixed"):
            fit(transformer_module(), tmp_path, 1, precision="64-true")

    def test_learning_rate(self) -> None:
        with pytest.raises(UserError, match="learning rates of 0 or more"):
            AdamRates(d_lr=-1.0)


def _gradients(rows: slice) -> dict[str, Tensor]:
    """Of both steps on some of four faces; without norms of a batch, which two processes do not share."""
    torch.manual_seed(1)
    module = transformer_module(
        discriminators=Discriminators(channels=4, norm="none"), predictor=PasswordPredictor(channels=4, norm="none"),
        pool_size=0,
    )  # fmt: skip
    module.prepare(4)
    for pool in module.pools.values():
        pool.query = lambda images, count: images[:count]  # type: ignore[method-assign]
    whole, drawn = batch(module), draw_passwords(4, 16, generator=torch.Generator().manual_seed(0))
    given = FaceBatch(*(part[rows] for part in whole))
    passwords = DrawnPasswords(*(part[rows] for part in drawn))
    made = transform(module.transformer, given.images, passwords)
    for loss, learners in ((module.judge(given, made), JUDGES), (module.make(given, made, passwords), MAKERS)):
        parameters = [value for name in learners for value in module.get_submodule(name).parameters()]
        module._learn(loss.total, torch.optim.SGD(parameters, lr=0.0))
    return {name: value.grad for name, value in module.named_parameters() if value.grad is not None}


def _half(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(_gradients(slice(2 * rank, 2 * rank + 2)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    multiprocessing.spawn(_half, args=(str(tmp_path),), nprocs=2)
    expected = _gradients(slice(None))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))
