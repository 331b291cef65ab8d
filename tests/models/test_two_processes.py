"""A step of each method in two processes, with half of the batch each, is that of one process with all of it.

In Lightning's Trainer, with the strategy of ``trainer=ddp``. Left out is what differs on purpose: norms over a batch,
whose statistics are each process's own, and random numbers, which every process draws for itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support_gan import NETWORK, gan
from support_password_training import faces, transformer_module
from torch import Tensor, distributed, multiprocessing, nn
from torch.utils.data import DataLoader

from src.apps.overrides import CONF
from src.losses.drh import DRHLoss
from src.losses.gender_angular import GenderAngularLoss
from src.losses.heads import ArcFaceHead, NormalizedSoftmaxHead
from src.models import password_transformer
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.drh import DRH
from src.models.gan_phases import PHASES, PhaseInput
from src.models.gender_angular import GenderAngular
from src.models.networks.mini import MiniFaceNet
from src.models.networks.password_transformer import Discriminators, PasswordPredictor
from src.models.networks.password_transformer.sampling import DrawnPasswords, draw_passwords
from src.models.networks.privacy_layer import PrivacyLayer
from src.models.networks.rank_hash import RankHashLayer
from src.models.networks.stylegan2 import Discriminator
from src.models.optimization import cosine
from src.models.password_optimization import AdamRates
from src.models.recognizer import FaceRecognizer

BATCH, PEOPLE, SIZE = 8, 4, 16
GENDER = torch.tensor([0, 1, 0, 1])
LABEL = torch.tensor([0, 0, 2, 2, 1, 1, 3, 3])
"""All women of a batch are in the half of the first process, all men in that of the other; and so are all pairs."""

Measured = dict[str, dict[str, Tensor]]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(seed))


class Share(L.LightningDataModule):
    """This process's rows of one batch."""

    num_classes, class_attributes, batch_size = PEOPLE, GENDER, BATCH

    def __init__(self, sample: dict[str, Tensor]) -> None:
        super().__init__()
        self.sample = sample

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        share = {name: value.chunk(trainer.world_size)[trainer.global_rank] for name, value in self.sample.items()}
        return DataLoader([share], batch_size=None)


class Recorder(L.Callback):
    """Keeps the gradients that every step of an optimiser takes."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not pl_module.automatic_optimization:
            for optimizer in trainer.optimizers:
                optimizer.register_step_pre_hook(lambda optimizer, *_: self.keep(optimizer, pl_module))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if pl_module.automatic_optimization:  # its step computes the gradients, after the hook before it
            self.keep(optimizer, pl_module)

    def keep(self, optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
        names = {parameter: name for name, parameter in module.named_parameters()}
        step = len({name.split(" ")[0] for name in self.gradients})
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            if parameter.grad is not None:
                self.gradients[f"{step} {names[parameter]}"] = parameter.grad.clone()


class Plain(nn.Sequential):
    embedding_size = 8

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * SIZE**2, 8))


def frozen() -> MiniFaceNet:
    return MiniFaceNet(embedding_size=16, size=SIZE).eval()


def images() -> dict[str, Tensor]:
    return {"image": normal(3, SIZE, SIZE), "label": LABEL, "attribute": GENDER[LABEL]}


def drawn_alike(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Lightning seeds again where there are several processes, so what is made after that would differ."""

    def seeded(*arguments: Any, **options: Any) -> nn.Module:
        torch.manual_seed(5)
        return make(*arguments, **options)

    return seeded


def recogniser(shares: int) -> tuple[L.LightningModule, dict[str, Tensor]]:
    sgd = partial(torch.optim.SGD, lr=0.1)
    head = drawn_alike(partial(ArcFaceHead, scale=16.0))
    return FaceRecognizer(Plain(), head, sgd, partial(cosine, warmup_epochs=0)), images()


def gender_angular(shares: int) -> tuple[L.LightningModule, dict[str, Tensor]]:
    loss = partial(GenderAngularLoss, head=drawn_alike(partial(NormalizedSoftmaxHead, scale=16.0)))
    return GenderAngular(frozen(), drawn_alike(PrivacyLayer), loss, partial(torch.optim.SGD, lr=0.1)), images()


def rank_hash(shares: int) -> tuple[L.LightningModule, dict[str, Tensor]]:
    """The sum of the angular loss is divided by the processes that the codes come from: half of its weight for one."""
    loss = DRHLoss(gather_embeddings=True, balance_scope="position", center_codes=True, quanti=True, scale=32 / shares)
    layer = partial(RankHashLayer, m=12, q=8)
    return DRH(frozen(), drawn_alike(layer), loss, partial(torch.optim.SGD, lr=0.1)), images()


def generator(shares: int) -> tuple[L.LightningModule, dict[str, Tensor]]:
    judge = {**NETWORK, "group_size": 1}
    module = gan(
        {"style_mixing": 0.0, "path_length_weight": 0.0},
        augment=None,
        discriminator=Discriminator(**judge, c_dim=8),
        nir_discriminator=Discriminator(**judge, image_channels=1),
        lr=1e-9,  # Adam would turn the last bit of a gradient into a step of full length
    )
    run = module._run

    def run_as_given(phase: str, given: PhaseInput) -> None:
        number, rank = PHASES.index(phase), distributed.get_rank() if len(given.z) < BATCH else 0
        rows = slice(rank * len(given.z), (rank + 1) * len(given.z))
        run(phase, replace(given, z=normal(8, seed=number)[rows], c=normal(8, seed=10 + number)[rows]))

    module._run = run_as_given  # type: ignore[method-assign]
    module._draw_identities = lambda count: torch.zeros(count, 8)  # type: ignore[method-assign]
    return module, {"image": normal(3, SIZE, SIZE), "nir": normal(1, SIZE, SIZE, seed=1), "feature": normal(8)}


def password(shares: int) -> tuple[L.LightningModule, dict[str, Tensor]]:
    module = transformer_module(
        discriminators=Discriminators(channels=4, norm="none"), predictor=PasswordPredictor(channels=4, norm="none"),
        pool_size=0, optim=AdamRates(g_lr=1e-9, q_lr=1e-9, d_lr=1e-9, fr_lr=1e-9),
    )  # fmt: skip
    module.prepare(PEOPLE)
    for pool in module.pools.values():
        pool.query = lambda images, count: images[:count]  # type: ignore[method-assign]
    whole = draw_passwords(4, 16, generator=torch.Generator().manual_seed(0))

    def draw(count: int, *_: object) -> DrawnPasswords:
        rank = distributed.get_rank() if count < 4 else 0
        return DrawnPasswords(*(part[rank * count : (rank + 1) * count] for part in whole))

    password_transformer.draw_passwords = draw  # type: ignore[assignment]
    sample = faces().example_batch(4)
    return module, {name: sample[name] for name in ("image", "label", "landmarks")}  # type: ignore[literal-required]


METHODS: dict[str, Callable[[int], tuple[L.LightningModule, dict[str, Tensor]]]] = {
    "recogniser": recogniser,
    "gender_angular": gender_angular,
    "drh": rank_hash,
    "arcbifacegan": generator,
    "password_transformer": password,
}
LOSSES = ("loss", "Loss", "D_", "G_", "L1_", "train/centroid", "train/prototype", "train/target_cosine", "recon", "dis")
BUFFERS = ("w_avg", "average.mapping")


def measure(name: str, folder: Path, **strategy: Any) -> Measured:
    """Losses and gradients of one step, and what is averaged over the processes besides."""
    L.seed_everything(3, verbose=False)
    recorder = Recorder()
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=1,
        callbacks=[recorder],
        logger=False,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        **strategy,
    )
    module, sample = METHODS[name](1 if strategy["devices"] == 2 else 2)
    trainer.fit(module, datamodule=Share(sample))
    metrics = trainer.callback_metrics
    state = module.state_dict() if isinstance(module, ArcBiFaceGAN) else {}
    return {
        "losses": {key: metrics[key] for key in metrics if any(part in key for part in LOSSES)},
        "gradients": {key: value for key, value in recorder.gradients.items() if "noise_strength" not in key},
        "buffers": {key: value for key, value in state.items() if any(part in key for part in BUFFERS)},
    }


def _half(rank: int, folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    variables = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in variables.items()})
    strategy = OmegaConf.load(CONF / "trainer" / "ddp.yaml").strategy
    measured = {name: measure(name, folder, devices=2, strategy=instantiate(strategy)) for name in METHODS}
    torch.save(measured, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Measured]]:
    """What both processes measured, by method."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    multiprocessing.spawn(_half, args=(folder, port), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_do_what_one_does(
    name: str, pair: list[dict[str, Measured]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_transformer, "draw_passwords", draw_passwords)  # restored, as the method changes it
    expected = measure(name, tmp_path, devices=1)
    found = [processes[name] for processes in pair]
    assert expected["losses"]
    assert expected["gradients"]
    for kind, values in expected.items():
        assert all(process[kind].keys() == values.keys() for process in found), kind
        for key, value in values.items():
            one, other = (process[kind][key] for process in found)
            largest = float(value.abs().max())
            if kind == "losses":  # each process logs that of its own share
                torch.testing.assert_close((one + other) / 2, value, rtol=1e-4, atol=1e-6, msg=key)
            else:
                assert torch.equal(one, other), key
                torch.testing.assert_close(one, value, rtol=1e-3, atol=1e-5 * largest + 1e-8, msg=key)
