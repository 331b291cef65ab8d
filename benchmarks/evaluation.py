"""How long evaluation takes once there are embeddings, against the protocols written as plain loops.

Run as ``python -m benchmarks.evaluation`` (``make bench-eval``): four minutes, most of them in the loops. With
``--scale 0.1`` IJB-C has a tenth of its templates, the gender attack a tenth of its faces, and it takes seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.filesize import decimal
from rich.progress import track
from rich.table import Table

from benchmarks.evaluating import loops, ours
from benchmarks.evaluating.gender import gender_like, plain_attack
from benchmarks.evaluating.measure import cpu_seconds, in_fresh_process
from benchmarks.evaluating.sets import DIMENSIONS, FOLDS, PAIRS, IjbLike, lfw_like, make_ijb_like
from src.eval.gender import attack
from src.eval.ijb import FARS
from src.eval.template_score import FPIRS, RANKS
from src.eval.verification import verify

FAR, REPEATS = 1e-3, 5
SCORES_AGREE, RATES_AGREE, GUESSES_AGREE = 3e-7, 1e-9, 1e-3


def main() -> None:
    """Measure, check that the results agree, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1, help="share of the templates and faces, from 0.01 to 1")
    scale = parser.parse_args().scale
    console = Console(width=110)
    console.print(k_fold_table())
    console.print(gender_table(scale))
    with tempfile.TemporaryDirectory() as folder:
        make_ijb_like(Path(folder), scale)
        console.print(ijb_table(Path(folder)))
        console.print(benchmark_table(Path(folder)))


def k_fold_table() -> Table:
    """Accuracy and validation rate of 6,000 pairs."""
    embeddings, same = lfw_like()
    check("k-fold", loops.k_fold(embeddings, same, FAR), ours.k_fold(embeddings, same, FAR), 0)
    steps = {
        "loops: k-fold + val": lambda: loops.k_fold(embeddings, same, FAR),
        "ours: k-fold + val": lambda: ours.k_fold(embeddings, same, FAR),
        "ours: verify (+ ROC, EER, AUC, TAR)": lambda: verify(embeddings[0::2], embeddings[1::2], same, FOLDS),
    }
    seconds = {name: cpu_seconds(step, REPEATS) for name, step in track(steps.items(), "k-fold", transient=True)}
    reference = next(iter(seconds.values()))
    table = Table("step", "CPU seconds", "ratio", title=f"{PAIRS:,} pairs of {DIMENSIONS}, {FOLDS} folds")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.4f}", f"{reference / value:.1f}x")
    return table


def gender_table(scale: float) -> Table:
    """The gender attack with its three standard attackers."""
    templates, subjects, genders = gender_like(scale)
    results: dict[str, list[float]] = {}

    def plain() -> None:
        results["plain"] = plain_attack(templates, subjects, genders)

    def ours() -> None:
        results["ours"] = list(attack(templates, subjects, genders).balanced_accuracies.values())

    seconds = {name: cpu_seconds(step, 1) for name, step in {"scikit-learn, as it is": plain, "ours": ours}.items()}
    check("gender attack", results["plain"], results["ours"], GUESSES_AGREE)
    reference = next(iter(seconds.values()))
    accuracies = ", ".join(f"{100 * value:.1f}" for value in results["ours"])
    table = Table(
        "step", "CPU seconds", "ratio",
        title=f"gender of {len(subjects):,} faces of {subjects.max() + 1:,} people, 3 folds, 3 attackers",
        caption=f"balanced accuracies {accuracies} %",
    )  # fmt: skip
    for name, value in seconds.items():
        table.add_row(name, f"{value:.1f}", f"{reference / value:.1f}x")
    return table


def ijb_table(folder: Path) -> Table:
    """Each step of IJB-C for one combination of flags, from embeddings in memory."""
    ijb = IjbLike.load(folder)
    fars = [far for far in FARS if far * np.count_nonzero(~ijb.same) >= 1]
    read, one_to_one = in_fresh_process(ours.read_pairs, folder), in_fresh_process(ours.verify, folder, fars)
    one_to_many = in_fresh_process(ours.identify, folder, RANKS, FPIRS)
    plain_read, plain_one_to_one = loops.read_pairs(folder), loops.verify(folder, fars)
    plain_one_to_many = loops.identify(folder, RANKS, FPIRS)
    scores, rates = plain_one_to_one.result
    check("scores", scores, np.load(folder / "scores.npy"), SCORES_AGREE)
    check("TAR at FAR", rates, one_to_one.result, RATES_AGREE)
    check("identification rates", plain_one_to_many.result, one_to_many.result, RATES_AGREE)

    fast = read.seconds | one_to_one.seconds | {"1:1 from embeddings": sum(one_to_one.seconds.values())}
    fast |= one_to_many.seconds
    slow = plain_read.seconds | {"read them again": plain_read.seconds["read the pairs"]} | plain_one_to_one.seconds
    slow |= {"1:1 from embeddings": sum(plain_one_to_one.seconds.values())} | plain_one_to_many.seconds
    table = Table(
        "step", "loops, CPU s", "ours, CPU s", "ratio",
        title=f"IJB-C: {len(ijb.template):,} images, {len(ijb.subject):,} templates, {len(ijb.same):,} pairs",
        caption=f"peak memory of ours: {decimal(read.memory)} to read, {decimal(one_to_one.memory, precision=2)} "
        f"for 1:1 with all embeddings in memory, {decimal(one_to_many.memory)} for 1:N",
    )  # fmt: skip
    for name, value in fast.items():
        table.add_row(name, f"{slow[name]:.2f}", f"{value:.2f}", f"{slow[name] / value:.1f}x")
    return table


def benchmark_table(folder: Path) -> Table:
    """The benchmark as it is run, embeddings streaming by."""
    measured = in_fresh_process(ours.streamed, folder)
    table = Table(
        "step", "CPU s", title="IJB-C, all eight combinations", caption=f"peak memory: {decimal(measured.memory)}"
    )
    for name, value in measured.seconds.items():
        table.add_row(name, f"{value:.2f}")
    return table


def check(name: str, expected: object, actual: object, tolerance: float) -> None:
    """Stop if results are further apart than `tolerance`."""
    difference = np.abs(np.asarray(expected) - np.asarray(actual)).max()
    if not difference <= tolerance:
        raise SystemExit(f"{name}: ours and the loops differ by {difference:.2g}, more than {tolerance:.2g}")


if __name__ == "__main__":
    main()
