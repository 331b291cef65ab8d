from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.apps import main
from src.apps.overrides import CONF

TINY = (
    "faces=ci32",
    "faces.name=tiny",
    "faces.identities=4",
    "faces.per_identity=3",
    "faces.evaluation_identities=4",
    "faces.evaluation_images=6",
    "faces.pairs_per_fold=2",
    "processes=1",
)


def privface(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "src.apps.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False)


def test_usage_lists_the_apps() -> None:
    result = privface()
    assert result.returncode == 0
    assert "faces" in result.stdout
    assert result.stdout == privface("--help").stdout


def composed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """What an app is called with."""
    calls: list[Any] = []
    monkeypatch.setattr(main, "instantiate", calls.append)
    monkeypatch.setattr(sys, "argv", ["privface", *arguments])
    main.main()
    return OmegaConf.to_container(calls[0], resolve=True)  # type: ignore[return-value]


def test_flags_are_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert composed(monkeypatch, "index", "root=x", "--overwrite")["overwrite"] is True
    assert composed(monkeypatch, "index", "root=x", "--no-overwrite")["overwrite"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["a"],
        ["runs/a", "/b/c"],
        ["it's", 'say "so"', "a,b", "[c]", "{d}", "e f", "\\", "g\\'", "1", "null", "*", "x\\\\"],
    ],
)
def test_bare_words_become_a_list(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    call = composed(monkeypatch, "report", words[0], "out=there", *words[1:])
    assert (call["runs"], call["out"]) == (words, "there")


def test_help_of_an_app_shows_its_keys() -> None:
    assert "out: ???" in privface("faces", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fces"], "app=fces does not exist. Did you mean faces?"),
        (["faces"], "no value for out"),
        (["faces", "out=x", "faces=smal"], "faces=smal does not exist. Did you mean small"),
        (["faces", "out=x", "faces.identitys=3"], "Did you mean faces.identities"),
        (["faces", "out=x", "faces.identities=0"], "identities: expected a whole number between 1 and 90000, found 0"),
        (["index", "runs/demo"], "'runs/demo': expected KEY=VALUE; privface index --help lists the keys"),
        (["index", "root=x", "--overwrit"], "--overwrit: there is no such flag. Flags: --[no-]overwrite."),
        (["report", "nowhere"], "nowhere: is not a folder"),
    ],
)
def test_mistakes_end_with_one_message(arguments: list[str], message: str) -> None:
    result = privface(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_faces_writes_a_data_set_once(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    first = privface("faces", f"out={out}", *TINY)
    assert first.returncode == 0, first.stderr
    assert json.loads((out / "train" / "index.json").read_text())["samples"] == 12
    assert (out / "contact_sheet.png").is_file()
    written = (out / "faces.json").stat().st_mtime_ns
    assert privface("faces", f"out={out}", *TINY).returncode == 0
    assert (out / "faces.json").stat().st_mtime_ns == written
    other = privface("faces", f"out={out}", *TINY, "faces.seed=1")
    assert other.returncode == 1
    assert "seed" in other.stderr
