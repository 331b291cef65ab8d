from __future__ import annotations

import copy
import csv
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from support_gan import NETWORK, fit, gan, pairs
from torch import Tensor

from src.callbacks.loggers import RunCSVLogger
from src.errors import UserError
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.gan_schedule import Adaptation
from src.models.networks.stylegan2 import Discriminator, Generator

pytestmark = pytest.mark.filterwarnings("ignore")


def weights(module: ArcBiFaceGAN) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Watch(L.Callback):
    """Keeps what every iteration left."""

    def __init__(self) -> None:
        self.p: list[float] = []
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        assert isinstance(pl_module, ArcBiFaceGAN)
        self.p.append(math.nan if pl_module.augment is None else float(pl_module.augment.p))
        self.states.append(weights(pl_module))


class Stop(L.Callback):
    """Ends the process's part of a training as a kill does, after some iterations."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
        if pl_module.iterations == self.iterations:
            raise KeyError("killed")


def rows(path: Path) -> list[dict[str, Any]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_network_learns_and_everything_is_logged(tmp_path: Path) -> None:
    module = gan(kimg=0.036)
    before = weights(module)
    trainer = fit(module, tmp_path, logger=RunCSVLogger(tmp_path))
    after = weights(module)
    assert (module.images, module.iterations, trainer.global_step) == (36, 9, 9)
    learned = {name for name in after if not torch.equal(after[name], before[name])}
    for name in ("generator", "average"):
        assert {f"{name}.synthesis.b16.torgb.weight", f"{name}.synthesis.b16.toseg.weight"} <= learned
        assert f"{name}.mapping.w_avg" in learned
    assert {"discriminator.b16.fromrgb.weight", "nir_discriminator.b16.fromrgb.weight"} <= learned
    assert all(value.isfinite().all() for value in after.values())
    columns = {name for row in rows(tmp_path / "metrics.csv") for name, value in row.items() if value}
    assert columns >= {
        "Loss/G/loss", "Loss/G/reg", "Loss/D/loss", "Loss/D/loss_NIR", "Loss/D/reg", "Loss/D/reg_NIR",
        "Loss/pl_penalty", "Loss/r1_penalty", "Loss/r1_penalty_NIR", "Loss/scores/fake", "Loss/scores/fake_NIR",
        "Loss/scores/real", "Loss/scores/real_NIR", "Loss/signs/real", "Loss/signs/fake", "Progress/augment",
        "Progress/ema_decay", "Progress/kimg", "Progress/nir_weight",
    }  # fmt: skip


def test_means_over_the_iterations_between_two_rows(tmp_path: Path) -> None:
    """Regularisations would not be seen otherwise: they come at other iterations than rows."""
    module = gan(kimg=0.020)
    fit(module, tmp_path, logger=RunCSVLogger(tmp_path))
    every = [float(row["Loss/G/loss"]) for row in rows(tmp_path / "metrics.csv")]
    trained = gan(kimg=0.020)
    trainer_rows = tmp_path / "five"
    trainer = L.Trainer(
        max_epochs=-1, accelerator="cpu", logger=RunCSVLogger(trainer_rows), log_every_n_steps=5,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(trained, datamodule=pairs())
    (row,) = rows(trainer_rows / "metrics.csv")
    assert float(row["Loss/G/loss"]) == pytest.approx(sum(every) / 5)
    assert row["Loss/D/reg"]


@pytest.mark.parametrize("killed_at", [3, 7])
def test_killed_and_continued_gives_the_same_weights(tmp_path: Path, killed_at: int) -> None:
    options: dict[str, Any] = {"kimg": 0.040, "micro_batch": 2}
    whole = gan(**options)
    fit(whole, tmp_path / "whole")
    with pytest.raises(KeyError, match="killed"):
        fit(gan(**options), tmp_path / "killed", callbacks=[Stop(killed_at)])
    continued = gan(**options)
    trainer = fit(continued, tmp_path / "killed", checkpoint=tmp_path / "killed" / "last.ckpt")
    assert (continued.images, continued.iterations) == (whole.images, whole.iterations) == (40, 10)
    assert trainer.global_step == 10
    expected, found = weights(whole), weights(continued)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    one, other = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "killed"))
    for first, second in zip(one["optimizer_states"], other["optimizer_states"], strict=True):
        for key, state in first["state"].items():
            assert all(torch.equal(torch.as_tensor(state[n]), torch.as_tensor(second["state"][key][n])) for n in state)
    assert one["progress"] == other["progress"] == {"images": 40, "iterations": 10}


def test_finished_training_is_not_continued(tmp_path: Path) -> None:
    module = gan(kimg=0.016)
    fit(module, tmp_path)
    again = gan(kimg=0.016)
    fit(again, tmp_path, checkpoint=tmp_path / "last.ckpt")
    assert again.iterations == 4
    longer = gan(kimg=0.024)
    fit(longer, tmp_path, checkpoint=tmp_path / "last.ckpt")
    assert longer.iterations == 6


class TestAugmentation:
    @pytest.mark.parametrize(("quirks", "last"), [(False, 1.0), (True, 0.05 * 4 * 6)])
    def test_probability_rises_while_the_discriminator_knows_all_real_images(
        self, tmp_path: Path, quirks: bool, last: float
    ) -> None:
        """p = k * batch * interval / speed; the published code knows no upper limit."""
        module = gan({"parity_quirks": quirks}, adaptation=Adaptation(target=-2.0, interval=4, kimg=0.08), kimg=0.096)
        watch = Watch()
        fit(module, tmp_path, callbacks=[watch])
        expected = [0.2 * (iteration // 4) for iteration in range(1, 25)]
        assert watch.p == pytest.approx([value if quirks else min(value, 1) for value in expected])
        assert watch.p[-1] == pytest.approx(last)

    def test_probability_is_never_negative(self, tmp_path: Path) -> None:
        module = gan(adaptation=Adaptation(target=2.0, kimg=0.08), p=0.1, kimg=0.032)
        fit(module, tmp_path)
        assert module.augment is not None
        assert module.augment.p == 0

    def test_fixed_and_none(self, tmp_path: Path) -> None:
        fixed = gan(adaptation=None, p=0.3, kimg=0.020)
        fit(fixed, tmp_path)
        assert fixed.augment is not None
        assert fixed.augment.p == pytest.approx(0.3)
        without = gan(augment=None, kimg=0.020)
        fit(without, tmp_path)
        assert not any(name.startswith("augment") for name in without.state_dict())


def test_average_of_the_generator(tmp_path: Path) -> None:
    """The first iteration copies; then old parameters count half after so many images, buffers are copied."""
    watch = Watch()
    fit(gan(kimg=0.020), tmp_path, callbacks=[watch])
    name = "synthesis.b8.conv0.weight"
    first, *others = watch.states
    assert torch.equal(first[f"average.{name}"], first[f"generator.{name}"])
    average = first[f"average.{name}"]
    for iteration, state in enumerate(others, 1):
        decay = 0.5 ** (4 / min(100, 4 * iteration * 0.05))
        average = average * decay + state[f"generator.{name}"] * (1 - decay)
        torch.testing.assert_close(state[f"average.{name}"], average)
        assert torch.equal(state["average.mapping.w_avg"], state["generator.mapping.w_avg"])


def test_optimizers_are_corrected_for_lazy_regularisation() -> None:
    module = gan()
    found = [(o.param_groups[0]["lr"], *o.param_groups[0]["betas"]) for o in module.configure_optimizers()]
    assert found[0] == (pytest.approx(0.002), 0.0, pytest.approx(0.99**0.8))
    assert found[1] == found[2] == (pytest.approx(0.0025 * 16 / 17), 0.0, pytest.approx(0.99 ** (16 / 17)))
    counts = [sum(map(len, (group["params"] for group in o.param_groups))) for o in module.configure_optimizers()]
    assert counts[0] == len(list(module.generator.parameters()))


def test_frozen_layers_do_not_learn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = gan(discriminator=Discriminator(**NETWORK, c_dim=8, frozen_layers=3), kimg=0.012)
    before = weights(module)
    fit(module, tmp_path)
    after = weights(module)
    frozen = [f"discriminator.b16.{layer}.weight" for layer in ("fromrgb", "conv0", "conv1")]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["discriminator.b8.conv0.weight"], after["discriminator.b8.conv0.weight"])


def test_weight_of_the_near_infrared_changes_with_time(tmp_path: Path) -> None:
    module = gan(nir_weight={0: 0.1, 1: 0.5}, kimg=1.008)
    module.images = 992
    fit(module, tmp_path, logger=RunCSVLogger(tmp_path))
    found = [float(row["Progress/nir_weight"]) for row in rows(tmp_path / "metrics.csv")]
    assert found == pytest.approx([0.1, 0.1, 0.5, 0.5])
    with pytest.raises(UserError, match="expected a weight from 0 thousand images on"):
        gan(nir_weight={5: 0.1})


def test_parts_of_a_batch_give_the_gradients_of_all(tmp_path: Path) -> None:
    """But for what compares the images of a batch, and random numbers."""

    def trained(micro_batch: int | None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        judges = {
            "discriminator": Discriminator(**NETWORK, c_dim=8, group_size=1),
            "nir_discriminator": Discriminator(**NETWORK, image_channels=1, group_size=1),
        }
        mixing = {"style_mixing": 0.0, "path_length_weight": 0.0}
        module = gan(mixing, augment=None, micro_batch=micro_batch, lr=1e-5, kimg=0.004, **judges)
        fit(module, tmp_path / str(micro_batch))
        optimizer = module.trainer.optimizers[1]
        return {str(n): optimizer.state[p]["exp_avg_sq"] for n, p in enumerate(module.discriminator.parameters())}

    whole, parts = trained(None), trained(2)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-9)


def test_without_identities(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = {"generator": Generator(**NETWORK, z_dim=8, w_dim=8), "discriminator": Discriminator(**NETWORK)}
    module = gan(kimg=0.012, **networks)
    datamodule = pairs()
    datamodule.fields = ("image", "nir")
    module.check_ready(datamodule)
    fit(module, tmp_path, datamodule=datamodule)
    assert module.iterations == 3
    vis, nir = module(torch.randn(2, 8))
    assert (vis.shape, nir.shape) == ((2, 3, 16, 16), (2, 1, 16, 16))


class TestNumbersThatAreNotFinite:
    def test_layer_is_named_and_the_checkpoint_kept(self, tmp_path: Path) -> None:
        class Poison(L.Callback):
            def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
                if pl_module.iterations == 3:
                    pl_module.discriminator.b8.conv1.weight.data[0] = math.inf

        module = gan(kimg=0.040)
        expected = (
            r"iteration 3, after 12 images.*Loss/G/loss.*layer discriminator\.b8\.conv1\..*last\.ckpt is from before"
        )
        with pytest.raises(UserError, match=expected):
            fit(module, tmp_path, callbacks=[Poison()])
        kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
        assert kept["progress"]["iterations"] == 2
        assert all(value.isfinite().all() for value in kept["state_dict"].values())

    def test_images_are_named(self, tmp_path: Path) -> None:
        class Poison(L.Callback):
            def on_train_batch_start(
                self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
            ) -> None:
                batch["nir"][0, 0, 0, 0] = math.nan

        with pytest.raises(UserError, match=r"in the batch: its nir is not finite.*there is no checkpoint yet"):
            fit(gan(kimg=0.040), tmp_path, callbacks=[Poison()])


class TestSettingsThatCannotWork:
    def test_data(self) -> None:
        module = gan()
        module.check_ready(pairs())
        other = pairs()
        other.size = 32
        with pytest.raises(UserError, match=r"datamodule.size=32: expected 16"):
            module.check_ready(other)
        without = pairs()
        without.fields = ("image", "nir")
        with pytest.raises(UserError, match="expected image, nir, feature, found image, nir"):
            module.check_ready(without)
        longer = gan(generator=Generator(**NETWORK, z_dim=8, w_dim=8, c_dim=9))
        with pytest.raises(UserError, match="c_dim=9: expected 8, the length"):
            longer.check_ready(pairs())

    def test_batches(self) -> None:
        with pytest.raises(UserError, match=r"micro_batch=3: expected a divisor of datamodule\.batch_size=4"):
            gan(micro_batch=3).check_ready(pairs())
        with pytest.raises(UserError, match="group_size: expected a divisor of 6 images, found 4"):
            gan().check_ready(pairs(6))

    def test_precision_of_the_trainer(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"trainer\.precision=bf16-mixed: expected 32-true"):
            fit(gan(), tmp_path, precision="bf16-mixed")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision(tmp_path: Path, precision: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {**NETWORK, "precision": precision, "conv_clamp": 256}
    module = gan(
        generator=Generator(**options, z_dim=8, w_dim=8, c_dim=8, mapping_layers=2),
        discriminator=Discriminator(**options, c_dim=8),
        nir_discriminator=Discriminator(**options, image_channels=1),
        kimg=0.020,
    )
    fit(module, tmp_path)
    assert module.iterations == 5
    assert all(value.isfinite().all() for value in weights(module).values())


def test_module_can_be_copied() -> None:
    module = gan()
    other = copy.deepcopy(module)
    assert other.phases.generator is other.generator
    assert not other.train().average.training
