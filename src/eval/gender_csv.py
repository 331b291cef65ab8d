"""The table of gender attacks as CSV, with the columns of the gender-angular method's own evaluation."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from src.errors import UserError
from src.eval.gender import mean_of_standard
from src.eval.gender_attackers import STANDARD
from src.eval.privacy_table import gender_names
from src.eval.results import Results
from src.eval.trade_off import privacy_identity_coefficient
from src.files import atomic_write

__all__ = ["GenderCsv"]

_EER, _TAR, _PIC = "EER", "TAR@FAR=0.1%", "PIC"
_ATTACKERS = {"logreg": "BACC-Gender-LogReg", "svm": "BACC-Gender-SVM", "rbf": "BACC-Gender-RBF"}
_COLUMNS = ("Step", "Dataset", _EER, _TAR, *_ATTACKERS.values(), "BACC-Gender-AVG", _PIC)
_OURS = ("Checkpoint", "Row")


class GenderCsv:
    """Writes rows of a table as CSV: one line for each row and gender set.

    Datasets are called by the benchmark's name without a leading ``gender_``. What is not known is left empty.

    Args:
        path: File to write.
        legacy: As the method's own code writes it: the step is the name of the checkpoint, the columns are named anew
            before each checkpoint, and there are no more columns than it has; without any PIC not even that.
        reference: Such a file of the unprotected backbone, whose numbers PIC is computed with; None: what was evaluated
            along with the rows.

    Raises:
        UserError: ``reference`` cannot be read.
    """

    def __init__(self, path: Path | str, legacy: bool = False, reference: Path | str | None = None) -> None:
        self._path = Path(path)
        self._legacy = legacy
        self._reference = None if reference is None else _Reference(Path(reference))

    def __call__(self, rows: Sequence[Results]) -> None:
        """Write all ``rows``.

        Raises:
            UserError: The reference lacks one of their datasets.
        """
        blocks = [(row, self._lines(row, gender_names([row]))) for row in rows]
        with atomic_write(self._path, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not self._legacy:
                writer.writerow((*_COLUMNS, *_OURS))
            for row, lines in blocks:
                columns = [name for name in _COLUMNS if name != _PIC or any(line[_PIC] for line in lines)]
                if self._legacy and lines:
                    writer.writerow(columns)
                for line in lines:
                    if self._legacy:
                        writer.writerow([line[name] for name in columns])
                    else:
                        writer.writerow([*(line[name] for name in _COLUMNS), row.checkpoint or "", row.label])

    def _lines(self, row: Results, names: Sequence[str]) -> list[dict[str, str]]:
        checkpoint = Path(row.checkpoint) if row.checkpoint else None
        step = (checkpoint.name if checkpoint else row.label) if self._legacy else _step(checkpoint)
        return [{"Step": step, **self._line(row, name)} for name in names]

    def _line(self, row: Results, name: str) -> dict[str, str]:
        dataset, metrics = name.removeprefix("gender_"), row.metrics.get(name, {}) | row.privacy[name]
        eer, bacc, pic = (metrics.get(metric, math.nan) for metric in ("eer_folds", "bacc", "pic_folds"))
        if self._reference is not None:
            pre_eer, pre_bacc = self._reference.before(dataset)
            pic = privacy_identity_coefficient(pre_eer, eer, pre_bacc, bacc)
        numbers = {_EER: eer, _TAR: metrics.get("val@1e-3", math.nan)}
        numbers |= {column: metrics.get(f"bacc_{name}", math.nan) for name, column in _ATTACKERS.items()}
        numbers |= {"BACC-Gender-AVG": bacc, _PIC: pic}
        return {"Dataset": dataset, **{column: _text(value) for column, value in numbers.items()}}


class _Reference:
    """Numbers before protection, by dataset; of several lines of one dataset the first counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, Mapping[str, str]] = {}
        try:
            with open(path, newline="", encoding="utf-8") as file:
                for line in csv.DictReader(file):
                    self._lines.setdefault(line.get("Dataset") or "", line)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a CSV file of the unprotected backbone ({error})") from error
        if not any(self._lines):
            raise UserError(f"{path}: has no column Dataset; expected the columns {', '.join(_COLUMNS[:-1])}")

    def before(self, dataset: str) -> tuple[float, float]:
        """Equal error rate and mean balanced accuracy of the standard attackers."""
        if dataset not in self._lines:
            raise UserError(
                f"{self._path}: has no line of the dataset {dataset}, only of {', '.join(filter(None, self._lines))}; "
                "evaluate the unprotected backbone on it too, or give no reference"
            )
        line = self._lines[dataset]
        return self._number(line, _EER), mean_of_standard({n: self._number(line, _ATTACKERS[n]) for n in STANDARD})

    def _number(self, line: Mapping[str, str], column: str) -> float:
        try:
            return float(line[column])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{self._path}: {line['Dataset']}: expected a number in the column {column}, found {line.get(column)!r}"
            ) from error


def _step(checkpoint: Path | None) -> str:
    """Optimiser step of a checkpoint of the method's own code or of ours; empty if the file does not tell."""
    if checkpoint is None:
        return ""
    if match := re.fullmatch(r"(\d+)(ftn_layers|backbone)\.pth", checkpoint.name):
        return match[1]
    if checkpoint.suffix != ".ckpt" or not checkpoint.exists():
        return ""
    return str(torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True).get("global_step", ""))


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
