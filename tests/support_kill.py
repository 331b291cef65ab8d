"""A gallery whose writer is killed again and again, at any line or any moment, or loses power.

``python tests/support_kill.py --points 1000`` prints a table of what happened.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from support_disk import Disk

from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.parameters import Parameters

PACKAGE = str(Path("src", "models", "cancellable"))
PARAMETERS = Parameters(network="test", m=96, q=8, bits=3, threshold=0.6)
MENDABLE = {"leftover file", "identifier without template"}
POINTS_PER_GALLERY = 40
LINES, SECONDS = 4000, 0.2
"""Within how many lines of the package, or how much time, the writer is killed: about as much as its calls take."""


@dataclass(frozen=True)
class Call:
    """One call of the writer: what to do, and with which codes or people."""

    name: str
    codes: np.ndarray
    pids: list[int]


@dataclass
class Truth:
    """What the gallery has to hold.

    Attributes:
        codes: All codes of each person.
        revoked: Codes of those who are gone.
        identifiers: Which person every identifier was seen with, by version and by value.
    """

    codes: dict[int, list[np.ndarray]] = field(default_factory=dict)
    revoked: list[np.ndarray] = field(default_factory=list)
    identifiers: dict[object, object] = field(default_factory=dict)

    def done(self, call: Call, answer: list[int] | int) -> None:
        """Enter a call that returned."""
        if call.name in ("enrol", "enrol more"):
            assert isinstance(answer, list)
            for pid, code in zip(answer, call.codes, strict=True):
                self.codes.setdefault(pid, []).append(code)
        elif call.name == "revoke":
            for pid in call.pids:
                self.revoked += self.codes.pop(pid)

    def interrupted(self, call: Call, gallery: CancellableGallery) -> str:
        """Enter a call that was killed: it did all of its work or none of it, but for one code in the gallery."""
        present = set(gallery.pids)
        happened = {
            "enrol": present - set(self.codes),
            "enrol more": gallery.stats().templates - sum(map(len, self.codes.values())),
            "revoke": set(self.codes) - present,
            "renew": False,
        }[call.name]
        if happened:
            owners = call.pids or gallery.identify(call.codes, 1).pids[:, 0].tolist()
            self.done(call, owners)
        return "did it all" if happened else "renewed or did not" if call.name == "renew" else "did nothing"

    def check(self, gallery: CancellableGallery) -> None:
        """Everybody is found by all of his codes, exactly; nobody by the code of another or of the revoked."""
        assert gallery.pids == sorted(self.codes)
        assert gallery.stats().templates == sum(map(len, self.codes.values()))
        owners = [pid for pid, codes in self.codes.items() for _ in codes]
        for metric in ("symbols", "bits"):
            if owners:
                codes = np.stack([code for codes in self.codes.values() for code in codes])
                matches = gallery.identify(codes, 2, PARAMETERS.threshold, metric)
                assert matches.pids[:, 0].tolist() == owners
                assert not matches.distances[:, 0].any()
                assert matches.skipped == 0
                assert (matches.pids[:, 1] == -1).all() or metric == "bits"
        if self.revoked:
            assert (gallery.identify(np.stack(self.revoked[-50:]), 1).pids == -1).all()

    def check_identifiers(self, gallery: CancellableGallery) -> None:
        """No version and no identifier, of those that count or ever counted, belongs to two templates."""
        held = gallery._identifiers.identifiers()
        for pid, version, row in zip(held.pids, held.versions, held.rows[np.arange(len(held))], strict=True):
            name = (int(pid), int(version))
            assert self.identifiers.setdefault(int(version), name) == name
            assert self.identifiers.setdefault(row.tobytes(), name) == name


def run(points: int, seed: int, report: Callable[[str, str], None] = lambda kind, outcome: None) -> None:
    """Kill the writer ``points`` times and check the gallery after each.

    Args:
        points: How many.
        seed: Of what is done and of when it is interrupted.
        report: Called with the kind of the interruption and what became of the call.
    """
    rng = random.Random(seed)
    done = 0
    while done < points:
        kind = rng.choice(["csprng", "prf"])
        with tempfile.TemporaryDirectory() as folder:
            templates, identifiers = Path(folder, "templates"), Path(folder, "identifiers")
            CancellableGallery.create(templates, identifiers, PARAMETERS, kind).close()
            truth = Truth()
            for _ in range(min(POINTS_PER_GALLERY, points - done)):
                one_point(templates, identifiers, truth, rng, report)
                done += 1


def one_point(
    templates: Path, identifiers: Path, truth: Truth, rng: random.Random, report: Callable[[str, str], None]
) -> None:
    """Interrupt some calls, then check."""
    calls = plan(truth, rng, templates, identifiers)
    kind = rng.choice(["killed at a line", "killed at a moment", "lost power at a line"])
    answers = interrupted(templates, identifiers, calls, kind, rng)
    for call, answer in zip(calls, answers, strict=False):
        truth.done(call, answer)
    with CancellableGallery.open(templates, identifiers, write=True) as gallery:
        outcome = "all returned"
        if len(answers) < len(calls):
            call = calls[len(answers)]
            outcome = f"{call.name}: {truth.interrupted(call, gallery)}"
        found = gallery.audit().findings
        assert {finding.kind for finding in found} <= MENDABLE, found
        truth.check(gallery)
        truth.check_identifiers(gallery)
        if rng.random() < 0.5:
            assert gallery.repair().ok
        else:
            go_on(gallery, truth, rng)
        assert gallery.audit().ok
        truth.check(gallery)
        assert set(gallery._identifiers.identifiers().pids.tolist()) == set(truth.codes)
    report(kind, outcome)
    report(kind, "left something to repair" if found else "left nothing to repair")


def go_on(gallery: CancellableGallery, truth: Truth, rng: random.Random) -> None:
    """The next change finishes what was interrupted, without a repair."""
    code = random_codes(1, rng)
    name = rng.choice(["enrol", "renew", "revoke"])
    if name == "renew":
        gallery.renew(sorted(truth.codes)[:2])
        return
    pids = gallery.enrol(code)
    if name == "revoke":
        gallery.revoke(pids)
        truth.revoked.append(code[0])
    else:
        truth.done(Call("enrol", code, pids), pids)


def random_codes(count: int, rng: random.Random) -> np.ndarray:
    """uint8 [count, m]."""
    return np.random.default_rng(rng.getrandbits(32)).integers(0, 8, (count, PARAMETERS.m), dtype=np.uint8)


def plan(truth: Truth, rng: random.Random, templates: Path, identifiers: Path) -> list[Call]:
    """Some calls; people who are revoked or get further templates are those that are there before the first."""
    people = sorted(truth.codes)
    rng.shuffle(people)
    leaving, staying = people[: len(people) // 5], people[len(people) // 5 :]
    drawn = CancellableGallery.open(templates, identifiers).draw_pids(4 * 12)
    calls = []
    for _ in range(4):
        name = rng.choice(["enrol", "enrol more", "renew", "revoke"])
        count = rng.randint(1, 12)
        codes = random_codes(count, rng)
        if name == "revoke" and leaving:
            calls.append(Call(name, codes, leaving))
            leaving = []
        elif name == "renew" and staying:
            calls.append(Call(name, codes, rng.choice([staying, staying[:3]])))
        elif name == "enrol more" and staying:
            calls.append(Call(name, codes, rng.choices(staying, k=count)))
        else:
            calls.append(Call("enrol", codes, rng.choice([[], [drawn.pop() for _ in codes]])))
    return calls


def interrupted(
    templates: Path, identifiers: Path, calls: list[Call], kind: str, rng: random.Random
) -> list[list[int] | int]:
    """Answers of the calls that returned before another process, which makes them, was killed."""
    reading, writing = os.pipe()
    lines, seconds = rng.randint(1, LINES), rng.uniform(0, SECONDS)
    child = os.fork()
    if child == 0:
        try:
            work(
                templates,
                identifiers,
                calls,
                writing,
                lines if kind.endswith("line") else None,
                kind.startswith("lost"),
            )
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    os.close(writing)
    if kind == "killed at a moment":
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with open(reading) as file:
        answers = [json.loads(line) for line in file if line.endswith("\n")]
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "the writer failed"
    return answers


def interrupted_creation(templates: Path, identifiers: Path, lines: int) -> None:
    """Make a gallery in another process, which loses power after that many lines of the package."""
    for folder in (templates, identifiers):
        folder.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        random.seed(lines)
        die_after(lines, Disk([templates, identifiers]))
        try:
            CancellableGallery.create(templates, identifiers, PARAMETERS).close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def work(templates: Path, identifiers: Path, calls: list[Call], log: int, lines: int | None, lose_power: bool) -> None:
    """Make the calls and log their answers; die after that many lines of the package."""
    gallery = CancellableGallery.open(templates, identifiers, write=True)
    random.seed(lines)
    disk = Disk([templates, identifiers]) if lose_power else None
    if lines is not None:
        die_after(lines, disk)
    for call in calls:
        if call.name == "enrol":
            answer: list[int] | int = gallery.enrol(call.codes, call.pids or None)
        elif call.name == "enrol more":
            answer = gallery.enrol(call.codes, call.pids)
        else:
            answer = getattr(gallery, call.name)(call.pids)
        os.write(log, json.dumps(answer).encode() + b"\n")


def die_after(lines: int, disk: Disk | None) -> None:
    """Kill this process after it has run that many lines of the package."""
    left = lines

    def trace(frame, event, argument):  # type: ignore[no-untyped-def]
        nonlocal left
        if PACKAGE not in frame.f_code.co_filename:
            return None
        left -= event == "line"
        if left <= 0:
            sys.settrace(None)
            if disk is not None:
                disk.lose_power()
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def main() -> None:
    """Kill, check, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    start = time.monotonic()
    run(arguments.points, arguments.seed, lambda kind, outcome: counts.update([(kind, outcome)]))
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:22} {outcome:32} {count:6,}")
    print(f"{arguments.points:,} points in {time.monotonic() - start:.0f} s, none of them left anything that is wrong.")


if __name__ == "__main__":
    main()
