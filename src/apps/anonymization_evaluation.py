"""What ``eval.py`` runs for password transformers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from src.apps.anonymization_networks import Embedder, companions, name_of, on_device, open_transformer
from src.apps.anonymize.network_file import TrainedTransformer
from src.apps.result_rows import describe_results
from src.apps.run import build_datamodule, build_trainer, write_outputs
from src.apps.run_folder import checkpoint_labels, find_checkpoints
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.anonymization.cost import brute_force_cost
from src.eval.anonymization.interfaces import random_bits, wrong_bits
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.recognition import ACCURACY
from src.eval.anonymization.security import attack
from src.eval.anonymization.suite import Networks, measure, spread
from src.eval.benchmark import VerificationBenchmark
from src.eval.figures.anonymization import flip_figure, success_figure
from src.eval.pictures import image_grid
from src.eval.report import IMAGES
from src.eval.results import Results, safe_name
from src.eval.score import BenchmarkScore
from src.models.networks.password_transformer.calibration import calibration, has_batch_norms, load_calibration
from src.ops.library import log_backends

__all__ = ["evaluate_anonymization"]

log = logging.getLogger(__name__)

OF_BATCH = "batch statistics"

_PASSWORDS = 4
_COLUMNS = (
    "Original, anonymised under four passwords, recovered from the first of them with its password, and twice with "
    "wrong ones"
)


def evaluate_anonymization(config: DictConfig) -> None:
    """Judge one or several password transformers on verification benchmarks, and write the outputs.

    Batch norms count twice: with the statistics of each batch, as published, and, where they were calibrated, with
    those. Attacks on passwords are made on the latter, or on whatever there is.

    Args:
        config: Composed config of a password transformer.

    Raises:
        UserError: A checkpoint, the recogniser, the detector or the benchmarks are missing or do not fit; raised before
            any face is anonymised.
    """
    path = _recogniser(config)
    log_backends()
    L.seed_everything(config.seed, workers=True, verbose=False)
    checkpoints = find_checkpoints(config.ckpt_path, Path(config.paths.runs) / config.name)
    if None in checkpoints:
        log.warning("no ckpt_path: the transformer is untrained")
    transformers = [open_transformer(config, checkpoint) for checkpoint in checkpoints]
    trainer = build_trainer(config)
    device = trainer.strategy.root_device
    embed = Embedder(path, config.anonymization.framing, device)
    detector = instantiate(config.detector)
    datamodule = build_datamodule(config)
    rows: list[Results] = []
    for label, checkpoint, trained in zip(checkpoint_labels(checkpoints), checkpoints, transformers, strict=True):
        pairs = _pairs(config, datamodule, trained, label)
        beside = companions(checkpoint, device)
        trained.network.to(device)
        networks = Networks(
            on_device(trained.network, device), trained.network.length, embed, name_of(path), detector,
            beside.predict, beside.embed,
        )  # fmt: skip
        for name, last in _modes(trained, label):
            rows.append(_judge(config, trainer, networks, trained, pairs, name, checkpoint, attacked=last))
        trained.network.cpu()
    write_outputs(config, trainer, datamodule, rows)


def _recogniser(config: DictConfig) -> Path:
    """File of the network that judges; what is missing in the config is told."""
    if config.get("recogniser") is None:
        raise UserError(
            "recogniser: expected the network that judges who is recognised, a checkpoint of ours or an ONNX file, "
            "found none. Take one that had no part in this training, e.g. of python train.py experiment=arcface seed=1"
        )
    path = Path(config.recogniser)
    if not path.is_file():
        raise UserError(f"recogniser={path}: there is no such file; give a checkpoint of ours or an ONNX file")
    if not config.get("benchmark"):
        raise UserError("benchmark: expected sets of pairs to anonymise, found none; e.g. benchmark=[lfw]")
    return path


def _pairs(
    config: DictConfig, datamodule: FaceDataModule, trained: TrainedTransformer, label: str
) -> dict[str, FacePairs]:
    """Of every benchmark."""
    options = config.anonymization
    pairs: dict[str, FacePairs] = {}
    for name, benchmark in datamodule.benchmarks.items():
        if not isinstance(benchmark, VerificationBenchmark):
            raise UserError(f"benchmark {name}: expected a set of pairs, such as lfw; leave it out: benchmark=[lfw]")
        pairs[name] = FacePairs.of(benchmark.pairs, trained.size, options.framing, options.pairs)
    if trained.size != config.datamodule.size:
        log.warning("%s was trained on %d pixels; faces are shown to it in that size", label, trained.size)
    return pairs


def _modes(trained: TrainedTransformer, label: str) -> Iterator[tuple[str, bool]]:
    """Name of each row of a transformer, which is set accordingly, and whether it is the one to attack."""
    statistics = calibration(trained.network)
    if has_batch_norms(trained.network):
        load_calibration(trained.network, {})
        yield f"{label}, {OF_BATCH}", not statistics
        if not statistics:
            log.warning("%s was not calibrated: single faces do not feel their password; see privface convert", label)
            return
        load_calibration(trained.network, statistics)
    yield label, True


def _judge(
    config: DictConfig,
    trainer: L.Trainer,
    networks: Networks,
    trained: TrainedTransformer,
    pairs: Mapping[str, FacePairs],
    label: str,
    checkpoint: Path | None,
    *,
    attacked: bool,
) -> Results:
    """Row of a transformer on all benchmarks, and its pictures."""
    start, options, batch_size = time.perf_counter(), config.anonymization, config.datamodule.batch_size
    figures = Path(config.paths.output_dir) / "figures"
    scores = {}
    for name, faces in pairs.items():
        generator = torch.Generator().manual_seed(config.seed)
        measured = measure(
            networks, faces, generator=generator, batch_size=batch_size,
            passwords=options.passwords, diversity_faces=options.diversity_faces,
        )  # fmt: skip
        of = f"{label}, {name}"
        success_figure(_path(figures, "recognised", of), measured.similarities, measured.thresholds, of)
        _draw_faces(_path(figures, "anonymised", of), networks, faces, options.shown, config.seed, of)
        privacy = {}
        if attacked:
            effort = instantiate(options.effort)
            security = attack(networks, faces, measured, effort, generator=generator, batch_size=batch_size)
            cost = brute_force_cost(trained.network, networks, trained.size, batch_size, trainer.strategy.root_device)
            privacy = {**security.metrics, **cost}
            threshold = measured.thresholds[ACCURACY]
            flip_figure(_path(figures, "wrong_bits", of), security.flipped, threshold, of)
        scores[name] = BenchmarkScore(measured.metrics, privacy=privacy)
    return describe_results(config, trainer, scores, label=label, checkpoint=checkpoint, start=start)


def _path(figures: Path, what: str, of: str) -> Path:
    return figures / IMAGES.format(safe_name(f"{what}_{of}"))


def _draw_faces(path: Path, networks: Networks, pairs: FacePairs, count: int, seed: int, of: str) -> None:
    """A row for each of some faces."""
    generator = torch.Generator().manual_seed(seed)
    images = pairs.load(spread(pairs.changed, count)).images
    bits = [random_bits(len(images), networks.length, generator) for _ in range(_PASSWORDS)]
    anonymised = [networks.transform(images, password) for password in bits]
    recovery = [~bits[0], wrong_bits(bits[0], generator), wrong_bits(bits[0], generator)]
    recovered = [networks.transform(anonymised[0], password) for password in recovery]
    columns = torch.stack([images, *anonymised, *recovered], dim=1)
    alt = f"{_COLUMNS}; each of {len(images)} rows shows one face."
    image_grid(path, columns.flatten(0, 1), title=f"{_COLUMNS} ({of})", alt=alt, columns=columns.shape[1])
