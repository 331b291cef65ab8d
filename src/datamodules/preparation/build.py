"""Turning a collection of faces into a data set, in many processes and through interruptions."""

from __future__ import annotations

import csv
import hashlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from src.datamodules.preparation.journal import Journal, differences
from src.datamodules.preparation.plan import plan_parts
from src.datamodules.preparation.receipt import Receipt
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.preparation.workers import Job, check_bad, verify_part, work_on, write_part
from src.datamodules.sources.source import FaceSource
from src.errors import UserError
from src.files import atomic_write, explain_full_disk
from src.progress import image_progress

__all__ = ["Preparation", "Result"]

_VERSION = 1
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Result:
    """What a run has done.

    Attributes:
        images: In the whole data set.
        skipped: Images that could not be read.
        degenerate: Images whose centre was taken for want of usable landmarks.
        bytes: Of all parts.
        new_images: Dealt with by this run; the others are in parts that an earlier run had finished.
        seconds: Wall time of this run.
    """

    images: int
    skipped: int
    degenerate: int
    bytes: int
    new_images: int
    seconds: float


class Preparation:
    """One data set to be prepared.

    Args:
        source: The collection.
        target: Where it goes.
        transform: What becomes of its images.
        samples_per_part: Images per shard.
        shuffle_seed: Seed of the order, None for the order of the classes; see `plan_parts`.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.

    Raises:
        UserError: The source lacks what the transform or the target needs, or a value is out of its range.
    """

    def __init__(
        self,
        source: FaceSource,
        target: Target,
        transform: FaceTransform,
        *,
        samples_per_part: int,
        shuffle_seed: int | None,
        max_bad_fraction: float,
    ) -> None:
        if not 0 <= max_bad_fraction < 1:
            raise UserError(f"max_bad_fraction: expected 0 or more and less than 1, found {max_bad_fraction}")
        transform.check(source)
        target.check(source)
        self.source = source
        self.target = target
        self.transform = transform
        self.shuffle_seed = None if target.by_class else shuffle_seed
        self.parts = plan_parts(source.labels, samples_per_part, self.shuffle_seed)
        self.max_bad = int(max_bad_fraction * len(source))
        self.journal = Journal(target.work)
        self.settings: dict[str, Any] = {
            "version": _VERSION,
            "source": source.fingerprint,
            "target": target.kind,
            "size": transform.size,
            "align": transform.align,
            "quality": None if transform.size is None else transform.quality,
            "shuffle_seed": self.shuffle_seed,
            "samples_per_shard": samples_per_part,
            "order": hashlib.sha256(np.concatenate(self.parts).astype("<i8").tobytes()).hexdigest()[:16],
        }

    def is_complete(self) -> bool:
        """Whether the target holds this data set already; writes nothing.

        Raises:
            UserError: The target holds something else, whole or unfinished.
        """
        if (record := self.target.read_record()) is not None:
            if different := differences(record["settings"], self.settings):
                raise UserError(
                    f"{self.target.out}: holds a data set that was prepared otherwise ({different}); "
                    "give another target, or delete this one"
                )
            return True
        if self.journal.exists:
            if different := differences(self.journal.read_settings(), self.settings):
                raise UserError(
                    f"{self.target.out}: holds an unfinished data set that was begun otherwise ({different}); go on "
                    f"with those values, give another target, or delete {self.target.work} and what was written"
                )
        elif foreign := self.target.foreign_files():
            raise UserError(
                f"{self.target.out}: expected a new or empty target, found {', '.join(foreign[:3])} in it; "
                "nothing is ever overwritten, give another one"
            )
        return False

    def run(self, processes: int) -> Result | None:
        """Prepare the data set, or what an interrupted run has left of it.

        The bytes depend neither on `processes` nor on interruptions. SIGTERM ends a run like Ctrl-C: finished parts
        are kept and no process is left behind.

        Args:
            processes: That prepare parts side by side.

        Returns:
            What was done; None if the data set was there.

        Raises:
            UserError: See `is_complete`; or too many images are unreadable, the disk is full, another run is writing
                the same target, or a process was killed.
            KeyboardInterrupt: On Ctrl-C or SIGTERM.
        """
        if not isinstance(processes, int) or processes < 1:
            raise UserError(f"processes: expected null or at least 1, found {processes!r}")
        start = time.perf_counter()
        self.is_complete()  # before a folder is made
        kept = "finished parts are kept, the same command goes on from there"
        with explain_full_disk(self.target.out, kept), _sigterm_interrupts(), self.journal.locked():
            if self.is_complete():
                self.journal.remove()
                return None
            if not self.journal.exists:
                self.journal.start(self.settings)
            self.journal.remove_unfinished()
            job = Job.new(self.source, self.transform, self.target, self.max_bad)
            receipts = self._write_parts(job, processes)
            result = self._finish(receipts, job.seen.value, start)
            self.journal.remove()
        return result

    def _write_parts(self, job: Job, processes: int) -> list[Receipt]:
        try:
            with work_on(job, min(processes, len(self.parts))) as executor:
                receipts = self._verified(executor)
                self._write_missing(executor, job, receipts)
        except BrokenProcessPool as error:
            raise UserError(
                "a process was killed, perhaps for want of memory; run the same command with fewer processes "
                "(finished parts are kept)"
            ) from error
        return [receipts[number] for number in range(len(self.parts))]

    def _verified(self, executor: Executor) -> dict[int, Receipt]:
        """Finished parts by number; those that were changed are not among them and are made again."""
        receipts = self.journal.receipts()
        checks: Iterable[bool] = executor.map(verify_part, receipts)
        if receipts:
            checks = track(
                checks, "checking finished parts", len(receipts), transient=True, console=Console(stderr=True)
            )
        return {receipt.number: receipt for receipt, valid in zip(receipts, checks, strict=True) if valid}

    def _write_missing(self, executor: Executor, job: Job, receipts: dict[int, Receipt]) -> None:
        skipped = [image for receipt in receipts.values() for image in receipt.skipped]
        check_bad(self.source, skipped, self.max_bad)
        missing = [number for number in range(len(self.parts)) if number not in receipts]
        done = len(self.source) - sum(len(self.parts[number]) for number in missing)
        waiting = {executor.submit(write_part, number, self.parts[number]) for number in missing}
        with image_progress() as progress:
            bar = progress.add_task("preparing", total=len(self.source), completed=done)
            while waiting:
                finished, waiting = wait(waiting, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                for future in finished:
                    receipt = future.result()
                    receipts[receipt.number] = receipt
                    skipped += receipt.skipped
                    check_bad(self.source, skipped, self.max_bad)
                progress.update(bar, completed=done + job.seen.value)

    def _finish(self, receipts: Sequence[Receipt], new_images: int, start: float) -> Result:
        if not any(receipt.samples for receipt in receipts):
            raise UserError(f"{self.source.name}: no image can be read")
        sides = {receipt.side for receipt in receipts if receipt.samples}
        self.target.finish(receipts, self.source, self.settings, sides.pop() if len(sides) == 1 else 0)
        skipped = [image for receipt in receipts for image in receipt.skipped]
        rows = sorted(skipped) + [(left.name, left.reason) for left in self.source.left_out]
        if rows:
            _write_csv(self.target, "skipped.csv", ["key", "reason"], rows)
        result = Result(
            images=sum(receipt.samples for receipt in receipts),
            skipped=len(skipped),
            degenerate=sum(receipt.degenerate for receipt in receipts),
            bytes=sum(receipt.bytes for receipt in receipts),
            new_images=new_images,
            seconds=time.perf_counter() - start,
        )
        counts = {"images": result.images, "skipped": result.skipped, "degenerate": result.degenerate}
        self.target.write_record({"settings": self.settings, "name": self.source.name, **counts})
        return result


def _write_csv(target: Target, name: str, header: list[str], rows: Sequence[tuple[str, str]]) -> None:
    with atomic_write(target.work / name, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    target.deliver(target.work / name, name)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, end the block like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
