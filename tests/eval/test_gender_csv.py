from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from support_results import gender_score, results, verification_score

from src.errors import UserError
from src.eval.gender_csv import GenderCsv
from src.eval.results import Results
from src.eval.trade_off import privacy_identity_coefficient

COLUMNS = [
    *("Step", "Dataset", "EER", "TAR@FAR=0.1%"),
    *("BACC-Gender-LogReg", "BACC-Gender-SVM", "BACC-Gender-RBF", "BACC-Gender-AVG", "PIC"),
]


def row(label: str, checkpoint: str | None, separation: float = 0.5, **privacy: float) -> Results:
    attacked = gender_score(separation, 0.75, **({"bacc_svm": 0.75, "bacc_rbf": 0.75} | privacy))
    scores = {"lfw": verification_score(0.5), "gender_lfw": attacked, "gender": attacked}
    return results(label, 0.5, checkpoint=checkpoint, scores=scores)


def lines(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_columns(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    torch.save({"global_step": 12, "state_dict": {"a": torch.zeros(1)}}, checkpoint)
    rows = [
        row("backbone", None),
        row("step 1030", "runs/1030ftn_layers.pth", pic_folds=3.5),
        row("last", str(checkpoint), pic_folds=4),
    ]
    path = tmp_path / "gender.csv"
    GenderCsv(path)(rows)
    header, *body = lines(path)
    assert header == [*COLUMNS, "Checkpoint", "Row"]
    assert body[0] == ["", "lfw", "0.25", "0.25", "0.75", "0.75", "0.75", "0.75", "", "", "backbone"]
    assert [line[0] for line in body] == ["", "", "1030", "1030", "12", "12"]
    assert [line[1] for line in body] == ["lfw", "gender"] * 3
    assert body[2][8:] == ["3.5", "runs/1030ftn_layers.pth", "step 1030"]


def test_as_the_methods_own_code_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "gender.csv"
    before, after = row("backbone", None), row("a", "runs/1030ftn_layers.pth", pic_folds=3.5)
    GenderCsv(path, legacy=True)([before, after, results("elsewhere", 0.5)])
    written = lines(path)
    assert written[0] == COLUMNS[:-1]
    assert written[1] == ["backbone", "lfw", "0.25", "0.25", "0.75", "0.75", "0.75", "0.75"]
    assert written[3] == COLUMNS
    assert written[4] == ["1030ftn_layers.pth", "lfw", "0.25", "0.25", "0.75", "0.75", "0.75", "0.75", "3.5"]
    assert len(written) == 6


@pytest.mark.parametrize("legacy", [True, False])
def test_a_reference_of_an_earlier_evaluation(tmp_path: Path, legacy: bool) -> None:
    before = tmp_path / "before.csv"
    better = row("backbone", None, 0.98, bacc_logreg=0.9, bacc_svm=0.95, bacc_rbf=0.85)
    GenderCsv(before, legacy)([better, row("a second time", None)])
    path = tmp_path / "after.csv"
    GenderCsv(path, reference=before)([row("last", None)])
    with open(path, newline="", encoding="utf-8") as file:
        pics = {line["Dataset"]: float(line["PIC"]) for line in csv.DictReader(file)}
    expected = privacy_identity_coefficient(0.01, 0.25, 0.9, 0.75)
    assert pics == {"lfw": pytest.approx(expected), "gender": pytest.approx(expected)}


def test_refuses_a_reference_that_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        GenderCsv(tmp_path / "a.csv", reference=tmp_path / "none.csv")
    reference = tmp_path / "reference.csv"
    reference.write_text("Name,EER\nlfw,0.1\n")
    with pytest.raises(UserError, match="has no column Dataset"):
        GenderCsv(tmp_path / "a.csv", reference=reference)
    reference.write_text("Dataset,EER\nagedb_30,0.1\n")
    with pytest.raises(UserError, match="no line of the dataset lfw, only of agedb_30"):
        GenderCsv(tmp_path / "a.csv", reference=reference)([row("last", None)])
    reference.write_text("Dataset,EER,BACC-Gender-LogReg\nlfw,0.1,much\n")
    with pytest.raises(UserError, match="lfw: expected a number in the column BACC-Gender-LogReg, found 'much'"):
        GenderCsv(tmp_path / "a.csv", reference=reference)([row("last", None)])
    assert not (tmp_path / "a.csv").exists()


def test_a_row_without_gender_sets(tmp_path: Path) -> None:
    GenderCsv(tmp_path / "a.csv")([results("last", 0.5, privacy={"other": {"gap": math.nan}})])
    assert lines(tmp_path / "a.csv") == [[*COLUMNS, "Checkpoint", "Row"]]
