from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support_results import results

from src.apps import main
from src.apps.finished_run import read_run
from src.apps.report import run
from src.errors import UserError
from src.eval.results import write_run_results


def finished(folder: Path, *labels: str) -> Path:
    write_run_results(folder, [results(label, 0.8) for label in labels])
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("name: demo\nroot: ${oc.env:HOME}\n")
    (folder / ".hydra" / "hydra.yaml").write_text("hydra:\n  job:\n    config_name: eval\n    name: eval\n")
    (folder / ".hydra" / "overrides.yaml").write_text("- experiment=arcface\n- name=it's\n")
    return folder


def privface(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["privface", *arguments])
    main.main()


def test_a_run_tells_how_it_was_made(tmp_path: Path) -> None:
    found = read_run(finished(tmp_path / "demo", "untrained", "last"))
    assert [row.label for row in found.rows] == ["untrained", "last"]
    assert found.command == """python eval.py experiment=arcface 'name=it'"'"'s'"""
    assert found.config_text == "name: demo\nroot: ${oc.env:HOME}\n"


def test_results_alone_are_enough(tmp_path: Path) -> None:
    write_run_results(tmp_path, [results("last", 0.8)])
    found = read_run(tmp_path)
    assert (found.command, found.config_text) == ("", "")


def test_the_page_of_one_run_lies_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(tmp_path / "demo", "untrained", "last")
    privface(monkeypatch, "report", str(folder))
    output = capsys.readouterr().out
    assert "90.00" in output
    assert "untrained" in output
    assert (folder / "report" / "index.html").is_file()
    assert (folder / "figures" / "roc_lfw.png").is_file()
    assert "python eval.py experiment=arcface" in (folder / "report" / "index.html").read_text()


def test_several_runs_are_bare_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [finished(tmp_path / name, "last") for name in ("first run's", "b,c")]
    out = tmp_path / "out"
    before = sorted(folders[0].rglob("*"))
    privface(monkeypatch, "report", str(folders[0]), f"out={out}", str(folders[1]))
    page = (out / "index.html").read_text()
    assert "2 runs side by side" in page
    assert "first run&#39;s" in page
    assert "b,c" in page
    assert (out / "figures" / "roc_lfw.png").is_file()
    assert sorted(folders[0].rglob("*")) == before


def test_several_runs_have_a_folder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "a", "last")
    run(["a", "a"], None)
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize(("create", "message"), [(True, "holds no results.json"), (False, "is not a folder")])
def test_a_run_without_results(tmp_path: Path, create: bool, message: str) -> None:
    folder = tmp_path / "demo"
    if create:
        folder.mkdir()
    with pytest.raises(UserError, match=message) as error:
        run([str(folder)], None)
    assert str(folder) in str(error.value)
    assert "ckpt_path=last continues a run" in str(error.value)
    assert list(tmp_path.rglob("*.html")) == []


def test_no_runs() -> None:
    with pytest.raises(UserError, match="privface report runs/demo"):
        run([], None)
