"""The comparison of methods as a user runs it, on a data set small enough for a test."""

from __future__ import annotations

import csv
import json
import math
import subprocess
from pathlib import Path

import pytest
import torch
from support_commands import run_command, workspace
from torch.nn import functional

from src.apps.comparison import _protect
from src.apps.comparison_table import comparison_tables, write_comparison
from src.apps.overrides import CONF
from src.eval.results import Results
from src.eval.score import BenchmarkScore
from src.models.networks.mini import MiniFaceNet
from src.models.suppression.projections import NoSuppression

ROOT = CONF.parent
METHODS = (
    *("none", "mean_difference", "lda", "inlp", "leace", "ive", "multi_ive"),
    *("pfrnet", "sensitive_nets", "adversarial", "csn", "esn", "pe_miu", "angular"),
)
TINY = (
    *("experiment=gender_angular/compare", "faces=gender_ci", "datamodule.num_workers=0", "bootstrap=0"),
    *("trainer.max_epochs=2", "methods.pfrnet.epochs=1", "methods.sensitive_nets.epochs=1"),
    *("methods.adversarial.epochs=1", "methods.ive.steps=2", "methods.multi_ive.steps=2"),
)


def compare(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    weights = f"init_from={root / 'backbone.pth'}"
    return run_command("train.py", *TINY, weights, *arguments, root=root, environment={"COLUMNS": "200"})


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "comparison.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the weights of an untrained network and a finished comparison, ``runs/all``."""
    folder = workspace(tmp_path_factory)
    torch.manual_seed(0)
    torch.save(MiniFaceNet(embedding_size=128, size=32).state_dict(), folder / "backbone.pth")
    result = compare(folder, "name=all")
    assert result.returncode == 0, result.stderr[-3000:]
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


@pytest.mark.slow
def test_every_method_is_a_row_of_every_benchmark(root: Path) -> None:
    rows = table(root / "runs/all")
    assert [(row["benchmark"], row["method"]) for row in rows] == [
        (benchmark, method) for benchmark in ("gender", "gender_shifted") for method in METHODS
    ]
    assert list(rows[0]) == [
        *("method", "benchmark", "eer", "val@1e-3", "accuracy", "bacc_logreg", "bacc_svm", "bacc_rbf", "bacc"),
        *("suppression_rate", "pic", "dim", "parameters", "fit_seconds"),
    ]
    for row in rows:
        values = {name: float(text) for name, text in row.items() if name not in ("method", "benchmark")}
        assert all(map(math.isfinite, values.values()))
        assert 0 <= values["bacc"] <= 1
        mean = sum(values[f"bacc_{name}"] for name in ("logreg", "svm", "rbf")) / 3
        assert values["bacc"] == pytest.approx(mean)


@pytest.mark.slow
def test_costs_are_those_of_the_methods(root: Path) -> None:
    rows = {row["method"]: row for row in table(root / "runs/all")[: len(METHODS)]}
    dims = {method: int(float(row["dim"])) for method, row in rows.items()}
    assert dims == dict.fromkeys(METHODS, 128) | {"ive": 126, "pfrnet": 124}
    layer = 2 * (128 * 128 + 128)
    parameters = {method: int(float(row["parameters"])) for method, row in rows.items()}
    assert parameters["none"] == parameters["pe_miu"] == 0
    assert parameters["angular"] == parameters["adversarial"] == layer
    assert float(rows["angular"]["fit_seconds"]) > float(rows["none"]["fit_seconds"])


@pytest.mark.slow
def test_methods_hide_gender_and_none_hides_nothing(root: Path) -> None:
    rows = {row["method"]: row for row in table(root / "runs/all")[: len(METHODS)]}
    assert abs(float(rows["none"]["suppression_rate"])) < 0.02
    assert abs(float(rows["none"]["pic"])) < 0.02
    for method in ("mean_difference", "leace", "inlp", "pe_miu"):
        assert float(rows[method]["bacc_logreg"]) < float(rows["none"]["bacc_logreg"]) - 0.05
    assert float(rows["pe_miu"]["eer"]) == pytest.approx(float(rows["none"]["eer"]), abs=0.03)


@pytest.mark.slow
def test_a_run_writes_its_folder(root: Path) -> None:
    folder = root / "runs/all"
    result = json.loads((folder / "results.json").read_text())
    assert result["label"] == "angular"
    assert result["other_rows"] == list(METHODS[:-1])
    assert result["privacy"]["method"] == {
        "dim": 128,
        "parameters": 2 * (128 * 128 + 128),
        "fit_seconds": pytest.approx(float(table(folder)[-1]["fit_seconds"])),
    }
    assert (folder / "report/index.html").is_file()
    text = (root / "stdout.txt").read_text()
    assert "Table: " in text
    for method in METHODS:
        assert method in text


@pytest.mark.slow
def test_what_does_not_fit_is_told_before_anything_is_embedded(root: Path) -> None:
    result = compare(root, "name=wrong", "methods.pe_miu.block_size=48")
    assert result.returncode == 1
    assert "methods.pe_miu: PeMiu: block_size=48: expected a divisor of the embeddings' 128 values" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (root / "runs/wrong/results.json").exists()


@pytest.mark.slow
def test_a_method_that_fails_leaves_the_results_of_the_others_as_they_are(root: Path) -> None:
    names = [name for name in METHODS if name not in ("none", "pfrnet", "leace", "csn")]
    result = compare(root, "name=failing", "methods.pfrnet.lr=1e30", *(f"~methods.{name}" for name in names))
    assert result.returncode == 1
    assert "1 of 4 methods failed:\npfrnet: " in result.stderr
    assert "rows hold NaN or infinity" in result.stderr
    expected = [line for line in table(root / "runs/all") if line["method"] in ("none", "leace", "csn")]
    found = table(root / "runs/failing")
    for line in (*expected, *found):
        del line["fit_seconds"]
    assert found == expected


def row(label: str, **privacy: float) -> Results:
    gender = BenchmarkScore({"eer": 0.05, "accuracy": 0.9}, privacy={"bacc": 0.6, "pic": math.nan})
    method = BenchmarkScore({}, privacy={"dim": 1024, "parameters": 0, "fit_seconds": 1.25} | privacy)
    return Results("demo", label, None, 1.0, {}, {"gender": gender, "method": method})


def test_tables_tell_recognition_privacy_and_cost(tmp_path: Path) -> None:
    (found,) = comparison_tables([row("none"), row("lda", parameters=2048)], ["gender"])
    assert found.rows[1][0] == "lda"
    texts = dict(zip(found.columns, found.rows[1][1], strict=True))
    assert texts["EER"] == "5.00"
    assert texts["TAR"] == texts["PIC"] == "—"
    assert (texts["dim"], texts["params"], texts["fit s"]) == ("1,024", "2,048", "1.2")


def test_the_file_leaves_unknown_numbers_empty(tmp_path: Path) -> None:
    write_comparison(tmp_path / "comparison.csv", [row("none")], ["gender"])
    (line,) = table(tmp_path)
    assert (line["method"], line["eer"], line["bacc"], line["pic"], line["dim"]) == (
        *("none", "0.05", "0.6", "", "1024"),
    )


def test_whole_templates_of_faces_are_those_of_the_image_alone() -> None:
    """Faces that are attacked are not added to their mirror images, whatever a method works on."""

    class Whole(NoSuppression):
        per_view = False

    views = {name: torch.randn(6, 4) for name in ("original", "flipped")}
    protected = _protect(Whole(), views, 4)
    expected = torch.cat([views["original"][:4] + views["flipped"][:4], views["original"][4:]])
    torch.testing.assert_close(protected["original"], functional.normalize(expected))
    torch.testing.assert_close(protected["flipped"], protected["original"])
