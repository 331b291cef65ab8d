"""How long a gallery of ciphered templates takes to enrol and to search, against a plain NumPy loop.

Run as ``python -m benchmarks.gallery``: two minutes for a million templates. ``--templates 20000`` takes seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from benchmarks.evaluating.measure import Measured, in_fresh_process
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.parameters import Parameters

M, Q, BITS, K, PROBES, PLAIN_PROBES, BATCH = 512, 8, 3, 10, 128, 16, 50_000


def main() -> None:
    """Measure, check that the results agree, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, default=1_000_000)
    templates = parser.parse_args().templates
    with tempfile.TemporaryDirectory() as folder:
        enrolled = in_fresh_process(enrol, Path(folder), templates)
        ours, plain = in_fresh_process(identify, Path(folder)), in_fresh_process(plain_identify, Path(folder))
        changed, base = in_fresh_process(change, Path(folder)), in_fresh_process(Measured).memory
        size = sum(path.stat().st_size for path in Path(folder).glob("*/*"))
    if not np.array_equal(ours.result[:PLAIN_PROBES], plain.result):
        raise SystemExit("the plain loop finds other distances")
    table = Table(
        "step", "plain loop, CPU s", "ours, CPU s", "ratio",
        title=f"{templates:,} templates of {M}x{Q}, identifiers drawn and stored, one thread",
        caption=f"both stores: {decimal(size)}; peak memory, mapped files included, above the {decimal(base)} of the "
        f"imports: {decimal(enrolled.memory - base)} to enrol, {decimal(ours.memory - base)} to identify, "
        f"{decimal(changed.memory - base)} to renew all",
    )  # fmt: skip
    for name, seconds in (enrolled.seconds | ours.seconds | changed.seconds).items():
        slow = plain.seconds.get(name)
        compared = ("", "") if slow is None else (f"{slow:.2f}", f"{slow / seconds:.1f}x")
        table.add_row(name, compared[0], f"{seconds:.2f}", compared[1])
    console = Console(width=110)
    console.print(table)
    console.print(f"The plain loop was measured with {PLAIN_PROBES} probes and scaled.")


def enrol(folder: Path, templates: int) -> Measured:
    """Enrol random codes, a batch at a time."""
    measured = Measured()
    gallery = CancellableGallery.create(
        folder / "templates", folder / "identifiers", Parameters(network="none", m=M, q=Q, bits=BITS)
    )
    seconds = 0.0
    for codes in _codes(templates):
        with measured.step("batch"):
            gallery.enrol(codes)
        seconds += measured.seconds.pop("batch")
    measured.seconds[f"enrol, in batches of {BATCH:,}"] = seconds
    return measured


def identify(folder: Path) -> Measured:
    """Search for many probes at once, and for one."""
    torch.set_num_threads(1)
    measured = Measured()
    probes = next(_codes(PROBES)).numpy()
    with measured.step("open and map"):
        gallery = CancellableGallery.open(folder / "templates", folder / "identifiers")
        gallery.identify(probes[:0])
    with measured.step(f"identify {PROBES} probes"):
        measured.result = gallery.identify(probes, K, 0.0).distances.numpy()
    with measured.step("identify one probe"):
        gallery.identify(probes[:1], K, 0.0)
    return measured


def plain_identify(folder: Path) -> Measured:
    """The same by NumPy, all in memory and one probe at a time."""
    measured = Measured()
    gallery = CancellableGallery.open(folder / "templates", folder / "identifiers")
    with gallery._snapshot() as snapshot:
        parts = zip(snapshot._templates, snapshot._places, strict=True)
        ciphered, keys = zip(
            *((part.rows[np.arange(len(part))], snapshot._identifiers.rows[places]) for part, places in parts),
            strict=True,
        )
    queries = gallery.parameters.to_words(next(_codes(PROBES)), gallery._table)
    templates, identifiers = np.concatenate(ciphered), np.concatenate(keys)
    with measured.step("loop"):
        measured.result = np.stack([_nearest(templates, identifiers, query) for query in queries[:PLAIN_PROBES]])
    seconds = measured.seconds.pop("loop")
    measured.seconds[f"identify {PROBES} probes"] = seconds * PROBES / PLAIN_PROBES
    measured.seconds["identify one probe"] = seconds / PLAIN_PROBES
    return measured


def change(folder: Path) -> Measured:
    """Renew everybody, then one person."""
    measured = Measured()
    with CancellableGallery.open(folder / "templates", folder / "identifiers", write=True) as gallery:
        with measured.step("renew all"):
            gallery.renew()
        pid = gallery.pids[0]
        with measured.step("renew one person"):
            gallery.renew([pid])
        with measured.step("revoke one person"):
            gallery.revoke([pid])
    return measured


def _nearest(templates: NDArray[np.int64], identifiers: NDArray[np.int64], query: NDArray[np.int64]) -> NDArray:
    differ = (templates ^ identifiers ^ query).reshape(len(templates), BITS, -1)
    distances = np.bitwise_count(np.bitwise_or.reduce(differ, axis=1).view(np.uint64)).sum(axis=1, dtype=np.int32)
    nearest = np.argpartition(distances, K)[:K]
    return np.sort(distances[nearest])


def _codes(count: int) -> Iterator[torch.Tensor]:
    """uint8 [up to BATCH, m], the same at every call."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, count, BATCH):
        yield torch.randint(Q, (min(BATCH, count - start), M), dtype=torch.uint8, generator=generator)


if __name__ == "__main__":
    main()
