"""How long an iteration of ArcBiFaceGAN takes and how much memory, against the published formulation in plain PyTorch.

Run as ``python -m benchmarks.generator_training``: four minutes. Both start from the same weights and see the same
images; first it is checked that their losses agree. Ours is run by Lightning's Trainer, the other by a plain loop.
Times are means over sixteen iterations: each has the main phases, four the path length, one the gradient penalties.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from torch.utils.data import DataLoader

from benchmarks.evaluating.measure import Measured, in_fresh_process
from benchmarks.generating.plain_training import PlainTraining
from src.datamodules.label_bank import LabelBank
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.gan_phases import Objectives
from src.models.gan_schedule import Averaging
from src.models.networks.adaptive_augmentation import AugmentPipe
from src.models.networks.stylegan2 import Discriminator, Generator

KINDS = {1: 12, 4: 3, 16: 1}
"""Numbers of iterations with ever more phases, and how many of such are in sixteen."""

FEATURE = 32


def main() -> None:
    """Check that losses agree, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for setting in SETTINGS:
        if setting.augmented:
            check_losses(setting)
    table = Table("training", title="an iteration: all phases, optimizers and the generator's average; one thread")
    for heading in ("plain, ms", "ours, ms", "ratio", "plain, peak", "ours, peak", "ratio"):
        table.add_column(heading, justify="right")
    for setting in SETTINGS:
        turns = measured(setting, rounds)
        seconds = [turns.per_iteration(way) for way in ("plain", "ours")]
        memory = [in_fresh_process(run_once, setting, way) for way in ("plain", "ours")]
        needed = [taken.memory - taken.result for taken in memory]
        table.add_row(
            str(setting),
            *(f"{1000 * value:.0f}" for value in seconds),
            f"{seconds[0] / seconds[1]:.2f}x",
            *map(decimal, needed),
            f"{needed[0] / needed[1]:.2f}x",
        )
    console = Console(width=120)
    console.print(table)
    console.print("CPU time. Peaks are beyond what a process holds before its first iteration, which has all phases.")


def check_losses(setting: Setting) -> None:
    """End where the losses of the two formulations differ, all of them of the same weights and random numbers."""
    setting = replace(setting, parity_quirks=True)
    module, faces = setting.module(), Faces(setting)
    module.lr = 0.0
    callback = Losses(plain_training(setting, module, faces))
    trainer = fit(module, faces, callback, 1, log_every_n_steps=1)
    tolerance = 1e-4 if setting.precision == "fp32" else 5e-2  # in bfloat16 we compute penalties in float32 still
    for name, value in callback.losses.items():
        found = trainer.callback_metrics[name]
        if not torch.isclose(found, value, rtol=tolerance, atol=0):
            raise SystemExit(f"{setting}: {name} is {value:.6g} in plain PyTorch, and {found:.6g} here")


def measured(setting: Setting, rounds: int) -> Turns:
    """Train by turns; the first round warms up."""
    module, faces = setting.module(), Faces(setting)
    turns = Turns(plain_training(setting, module, faces))
    fit(module, faces, turns, len(KINDS) * (rounds + 1))
    return turns


def run_once(setting: Setting, way: str) -> Measured:
    """An iteration of all phases; the result is the number of bytes that the process held before it."""
    torch.set_num_threads(1)
    module, faces = setting.module(), Faces(setting)
    if way == "ours":
        start = Start()
        fit(module, faces, start, 1)
        return Measured(result=start.memory)
    plain = plain_training(setting, module, faces)
    del module
    memory = held_memory()
    plain.iteration(0, *faces.batch.values())
    return Measured(result=memory)


@dataclass(frozen=True)
class Setting:
    """A training.

    Attributes:
        resolution: Of the images.
        batch: Images.
        widths: Of the networks.
        precision: ``"fp32"`` or ``"bf16"``.
        augmented: With probability 0.5, else not at all.
        parity_quirks: Ours has the same passes as the published program: one more through the generator in each phase,
            but no gradient penalty of the near infrared.
    """

    resolution: int
    batch: int
    widths: tuple[int, int]
    precision: str = "fp32"
    augmented: bool = False
    parity_quirks: bool = False

    def __str__(self) -> str:
        extras = {"augmented": self.augmented, "same passes": self.parity_quirks}
        parts = [f"{self.resolution} px", self.precision, *(name for name, chosen in extras.items() if chosen)]
        return ", ".join(parts)

    def module(self) -> ArcBiFaceGAN:
        """What is trained, of the same weights at every call."""
        torch.manual_seed(0)
        base, largest = self.widths
        size: dict[str, Any] = {"resolution": self.resolution, "channel_base": base, "channel_max": largest}
        size["precision"] = self.precision
        return ArcBiFaceGAN(
            Generator(**size, z_dim=largest, w_dim=largest, c_dim=FEATURE, mapping_layers=2),
            Discriminator(**size, c_dim=FEATURE),
            Discriminator(**size, image_channels=1),
            AugmentPipe() if self.augmented else None,
            Objectives(r1_gamma=0.3, parity_quirks=self.parity_quirks),
            kimg=1e6,
            lr=0.0025,
            p=0.5,
            averaging=Averaging(kimg=10.0, ramp=0.05),
        )


SMALL, LARGER = Setting(32, 16, (1024, 64)), Setting(64, 4, (2048, 64))
"""The first has the networks of ``experiment=arcbifacegan_procfaces``."""
SETTINGS = [
    SMALL,
    replace(SMALL, parity_quirks=True),
    *(replace(SMALL, precision=precision, augmented=True) for precision in ("fp32", "bf16")),
    LARGER,
    *(replace(LARGER, precision=precision, augmented=True) for precision in ("fp32", "bf16")),
]


class Faces(L.LightningDataModule):
    """The same random images again and again."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        side = setting.resolution
        self.label_bank = LabelBank(torch.randn(100, FEATURE, generator=generator))
        self.batch = {
            "image": torch.rand(setting.batch, 3, side, side, generator=generator) * 2 - 1,
            "nir": torch.rand(setting.batch, 1, side, side, generator=generator) * 2 - 1,
            "feature": self.label_bank.draw(setting.batch, generator),
        }

    def train_dataloader(self) -> DataLoader:
        """More batches than are used."""
        return DataLoader([self.batch] * 1000, batch_size=None)


class Turns(L.Callback):
    """Runs the plain iteration before each of ours, and measures both."""

    def __init__(self, plain: PlainTraining) -> None:
        self.plain = plain
        self.seconds: dict[tuple[str, int], list[float]] = {}

    def on_train_batch_start(self, trainer: L.Trainer, module: ArcBiFaceGAN, batch: Any, index: int) -> None:
        """The plain iteration."""
        self.number = module.iterations = list(KINDS)[index % len(KINDS)]
        start = time.process_time()
        self.plain.iteration(self.number, *batch.values())
        self._note("plain", start)
        self.start = time.process_time()

    def on_train_batch_end(self, *arguments: Any) -> None:
        """After ours."""
        self._note("ours", self.start)

    def _note(self, way: str, start: float) -> None:
        self.seconds.setdefault((way, self.number), []).append(time.process_time() - start)

    def per_iteration(self, way: str) -> float:
        """CPU seconds of an iteration, by the medians of all rounds but the first."""
        medians = {kind: statistics.median(self.seconds[way, kind][1:]) for kind in KINDS}
        return sum(medians[kind] * count for kind, count in KINDS.items()) / sum(KINDS.values())


class Losses(L.Callback):
    """Runs the plain iteration before ours, with the same random numbers, and keeps its losses."""

    def __init__(self, plain: PlainTraining) -> None:
        self.plain = plain

    def on_train_batch_start(self, trainer: L.Trainer, module: ArcBiFaceGAN, batch: Any, index: int) -> None:
        """The plain iteration."""
        torch.manual_seed(0)
        self.losses = self.plain.iteration(0, *batch.values())
        torch.manual_seed(0)


class Start(L.Callback):
    """Notes the memory before the first iteration."""

    def on_train_batch_start(self, *arguments: Any) -> None:
        """Just before it."""
        self.memory = held_memory()


def plain_training(setting: Setting, module: ArcBiFaceGAN, faces: Faces) -> PlainTraining:
    """The same training in plain PyTorch."""
    return PlainTraining(module, {"fp32": torch.float32, "bf16": torch.bfloat16}[setting.precision], faces.label_bank)


def fit(module: ArcBiFaceGAN, faces: Faces, callback: L.Callback, steps: int, **options: Any) -> L.Trainer:
    """Train for so many iterations, and write nothing."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=faces)
    return trainer


def held_memory() -> int:
    """Bytes that this process holds; its peak counts anew from here."""
    Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
