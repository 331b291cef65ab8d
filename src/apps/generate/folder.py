"""The folder of a data set of synthetic people, written person by person; a killed run can go on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from src.datamodules.preparation.journal import differences
from src.datamodules.sources.generated_faces import person_name, sample_file
from src.errors import UserError
from src.files import atomic_write, sync_folder
from src.models.generation.candidate import Candidate, Sample
from src.models.generation.rules import Rule

__all__ = ["GeneratedFolder", "Outcome", "count_rules"]

_CHANNELS = {"VIS": slice(0, 3), "NIR": slice(3, 4)}
_GRID_ROWS = 4
_KNOWN = "known.npy"


@dataclass(frozen=True)
class Outcome:
    """What became of one person, as the journal has it.

    Attributes:
        person: Number that its images were made with.
        rule: Why it was rejected; None if it was accepted.
        attempts: Images that were tried.
        rejected: How many of them broke which rule.
        samples: A row of the manifest for each accepted image.
    """

    person: int
    rule: Rule | None
    attempts: int
    rejected: Counter[Rule]
    samples: list[dict[str, Any]]


class GeneratedFolder:
    """A data set on the disk. Only one process may write it.

    Each person appears as a whole or not at all. What is known of the run lies in ``.generate``.

    Args:
        path: The folder; made by `begin` if it is not there.
        settings: All that the images and decisions depend on; values that JSON can hold.

    Attributes:
        path: The folder.
        outcomes: Of all people decided on.

    Raises:
        UserError: It holds something else, or a data set of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, dict(settings)
        self._work = path / ".generate"
        self._journal = self._work / "journal.jsonl"
        self._settings_file = self._work / "settings.json"
        if self._settings_file.exists():
            found = json.loads(self._settings_file.read_text(encoding="utf-8"))
            if different := differences(found, self.settings):
                raise UserError(
                    f"out={path}: holds people that were generated otherwise ({different}); go on with those values, "
                    "give another folder, or delete this one"
                )
        elif path.exists() and (not path.is_dir() or any(child != self._work for child in path.iterdir())):
            raise UserError(f"out={path}: expected a new or empty folder, nothing is ever overwritten; give another")
        self.outcomes = self._read_journal()

    @property
    def accepted(self) -> list[Outcome]:
        """Of the people that were accepted, in the order of their numbers in the data set."""
        return [outcome for outcome in self.outcomes if outcome.rule is None]

    @property
    def rejected_in_a_row(self) -> int:
        """How many people were rejected since the last one that was accepted."""
        count = 0
        for outcome in reversed(self.outcomes):
            if outcome.rule is None:
                break
            count += 1
        return count

    def embeddings(self, number: int) -> np.ndarray:
        """Embeddings of the images of an accepted person, float64 [S, D] of length 1."""
        return np.load(self._work / f"{person_name(number)}.npy", allow_pickle=False)

    def known(self) -> np.ndarray | None:
        """The embeddings of real people that this run began with; None if it has not begun."""
        return np.load(self._work / _KNOWN, allow_pickle=False) if self._settings_file.exists() else None

    def begin(self, known: np.ndarray) -> None:
        """Write down the settings and the embeddings of real people."""
        with atomic_write(self._work / _KNOWN) as file:
            np.save(file, known)
        with atomic_write(self._settings_file, "w") as file:
            json.dump(self.settings, file, indent=1)

    def add(self, candidate: Candidate) -> Outcome:
        """Write an accepted person, or note that one was rejected."""
        samples: list[dict[str, Any]] = []
        if candidate.is_complete:
            samples = self._write(candidate, len(self.accepted))
        outcome = Outcome(candidate.number, candidate.rule, candidate.attempts, Counter(candidate.rejected), samples)
        line = {
            "person": outcome.person,
            "rule": outcome.rule,
            "attempts": outcome.attempts,
            "rejected": dict(outcome.rejected),
            "samples": outcome.samples,
        }
        with open(self._journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            if samples:
                file.flush()
                os.fsync(file.fileno())
        self.outcomes.append(outcome)
        return outcome

    def _write(self, candidate: Candidate, number: int) -> list[dict[str, Any]]:
        """Write all of an accepted person but its line in the journal; what a killed run left of it is replaced."""
        name, samples = person_name(number), candidate.samples
        temporary = self._work / name
        for leftover in (temporary, self.path / name):
            shutil.rmtree(leftover, ignore_errors=True)
        files = [(index, spectrum) for index in range(len(samples)) for spectrum in _CHANNELS]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            encoded = list(threads.map(lambda key: _png(samples[key[0]].image[_CHANNELS[key[1]]]), files))
        hashes: dict[str, str] = {}
        for (index, spectrum), content in zip(files, encoded, strict=True):
            file = sample_file(number, index, spectrum)
            hashes[file] = hashlib.sha256(content).hexdigest()
            _write_through(self._work / file, content)
        with atomic_write(self._work / f"{name}.npy") as output:
            np.save(output, torch.stack([sample.embedding for sample in samples]).numpy())
        pictures = torch.stack([sample.image for sample in samples])
        for spectrum, channels in _CHANNELS.items():
            columns = max(1, len(samples) // _GRID_ROWS)
            with atomic_write(self.path / f"{name}_samples_{spectrum}.png") as output:
                output.write(_png(make_grid(pictures[:, channels], nrow=columns, padding=2)))
        os.replace(temporary, self.path / name)
        sync_folder(self.path)
        return [self._row(number, index, sample, candidate, hashes) for index, sample in enumerate(samples)]

    def _row(
        self, number: int, index: int, sample: Sample, candidate: Candidate, hashes: Mapping[str, str]
    ) -> dict[str, Any]:
        files = [sample_file(number, index, spectrum) for spectrum in _CHANNELS]
        return {
            "id": number,
            "sample": index,
            "seed": self.settings["seed"],
            "person": candidate.number,
            "attempts": sample.attempt,
            "cos_to_first": sample.to_first,
            "max_cos_gallery": max(sample.to_known, sample.to_synthetic),
            "max_cos_known": sample.to_known,
            "max_cos_dup": sample.to_other,
            "files": files,
            "sha256": [hashes[file] for file in files],
        }

    def _read_journal(self) -> list[Outcome]:
        """Outcomes so far; the line that a killed run was writing is cut off."""
        if not self._journal.exists():
            return []
        whole, _, rest = self._journal.read_bytes().rpartition(b"\n")
        if rest:
            os.truncate(self._journal, len(whole) + 1 if whole else 0)
        return list(_parse(whole, self._journal))


def _parse(content: bytes, path: Path) -> Iterator[Outcome]:
    for line in content.splitlines():
        try:
            entry = json.loads(line)
            rule = None if entry["rule"] is None else Rule(entry["rule"])
            rejected = Counter({Rule(name): int(count) for name, count in entry["rejected"].items()})
            yield Outcome(entry["person"], rule, entry["attempts"], rejected, entry["samples"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: damaged ({error!r}); delete the folder above it, and begin anew") from error


def _png(image: Tensor) -> bytes:
    """Encode uint8 [3, H, W] or, grey in three channels, [1, H, W]."""
    buffer = io.BytesIO()
    Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def _write_through(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def count_rules(outcomes: Sequence[Outcome]) -> tuple[Counter[Rule], Counter[Rule]]:
    """How many people, and how many images, broke which rule."""
    people = Counter(outcome.rule for outcome in outcomes if outcome.rule is not None)
    images: Counter[Rule] = Counter()
    for outcome in outcomes:
        images.update(outcome.rejected)
    return people, images
