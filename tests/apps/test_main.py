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


@pytest.mark.parametrize("asked", [[], ["--help"], ["-h"]])
def test_an_app_of_several_commands_lists_them(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["privface", "gallery", *asked])
    main.main()
    printed = capsys.readouterr().out
    assert "privface gallery COMMAND --help" in printed
    commands = [line.split()[1] for line in printed.splitlines() if line.startswith("gallery ")]
    assert commands == ["audit", "enrol", "identify", "renew", "revoke", "stats"]
    assert "faces" not in printed


def test_help_of_a_command_shows_its_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["privface", "gallery", "audit", "--help"])
    main.main()
    assert "repair: false" in capsys.readouterr().out


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


def test_bare_words_and_flags_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = ["templates=t", "identifiers=i"]
    assert composed(monkeypatch, "gallery", "revoke", "17", *stores, "23")["pid"] == ["17", "23"]
    assert composed(monkeypatch, "gallery", "renew", "all", *stores)["pid"] == ["all"]
    assert composed(monkeypatch, "gallery", "renew", *stores, "pid=17")["pid"] == 17
    assert composed(monkeypatch, "gallery", "audit", *stores, "--repair")["repair"] is True


def test_help_of_an_app_shows_its_keys() -> None:
    assert "out: ???" in privface("faces", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fces"], "app=fces does not exist. Did you mean faces or features?"),
        (["out=x"], "'out=x': expected a name after privface; privface --help lists them"),
        (["gallery", "enrl"], "app=gallery/enrl does not exist. Did you mean gallery/enrol"),
        (["gallery", "k=3"], "'k=3': expected a name after privface gallery; privface gallery --help lists them"),
        (["gallery", "stats", "x"], "'x': expected KEY=VALUE; privface gallery stats --help lists the keys"),
        (["gallery", "stats", "--all"], "--all: there is no such flag. Flags: none."),
        (["gallery", "identify"], "no value for images, ckpt_path, templates, identifiers"),
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
