from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support_source import ComputedSource, picture

from src.apps.overrides import CONF
from src.datamodules.shards import ShardIndex

SOURCE = """\
_target_: support_source.ComputedSource
_partial_: true
images: 40
classes: 4
delay: 0.0
points: false
bad: []
names: []
"""


class Command:
    """Runs `privface prepare` with the source `computed`."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.conf = folder / "conf"
        (self.conf / "source").mkdir(parents=True)
        (self.conf / "source" / "computed.yaml").write_text(SOURCE)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "src.apps.main", "prepare", f"hydra.searchpath=[file://{self.conf}]"]
        defaults = ["source=computed", f"out={self.out}", "samples_per_shard=8", "processes=2"]
        return subprocess.Popen(
            [*command, *defaults, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CONF.parent,
            env=os.environ | {"PYTHONPATH": str(CONF.parent / "tests")},
        )

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=300)
        assert "Traceback" not in errors, errors
        return process.returncode, output, errors


@pytest.fixture
def prepare(tmp_path: Path) -> Command:
    return Command(tmp_path)


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [below for child in map(int, children) for below in (child, *_descendants(child))]


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_dry_run_tells_everything_and_writes_nothing(prepare: Command, tmp_path: Path) -> None:
    status, output, _ = prepare("--dry-run", "source.bad=[39]", "source.points=true", "size=112", "align=true")
    assert status == 0
    for text in (
        "computed", "40", "4 of 10 to 10 images, median 10", "13 female, 13 male, 14 unknown", "visible, landmarks",
        "p00/notes.txt: no image", "aligned to 112 x 112", "shuffled, seed 0", "5 of up to 8 images",
        "1 of 40 images", "nothing was written",
    ):  # fmt: skip
        assert text in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf"]


def test_shards_then_nothing_to_do_then_other_settings(prepare: Command) -> None:
    status, output, _ = prepare()
    assert status == 0
    assert f"datamodule=shards datamodule.source.root={prepare.out}" in output
    index = ShardIndex.load(prepare.out)
    assert (len(index), index.resolution) == (40, 64)
    before = {path: path.stat().st_mtime_ns for path in prepare.out.iterdir()}
    status, output, _ = prepare()
    assert status == 0
    assert "nothing to do" in output
    status, _, errors = prepare("seed=1")
    assert status == 1
    assert "shuffle_seed was 0, is now 1" in errors
    assert {path: path.stat().st_mtime_ns for path in prepare.out.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on(prepare: Command, tmp_path: Path, signum: signal.Signals) -> None:
    process = prepare.start("source.delay=0.05")
    _wait_for(lambda: len(list(prepare.out.glob(".prepare/part-*"))) >= 2)
    processes = _descendants(process.pid)
    assert len(processes) >= 3
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    _wait_for(lambda: not any(map(_is_running, processes)))
    if signum == signal.SIGTERM:
        assert process.returncode == 130
        assert "Finished parts are kept" in errors
        assert "Traceback" not in errors
    finished = {path.name: path.stat().st_ino for path in prepare.out.glob("*.tar")}
    receipts = {f"train-{path.stem[-6:]}.tar" for path in prepare.out.glob(".prepare/part-*")}
    assert 2 <= len(receipts) < 5
    status, output, _ = prepare()
    assert status == 0, output
    assert f"{len(receipts)} are finished" in output
    assert all((prepare.out / name).stat().st_ino == finished[name] for name in receipts)
    status, _, _ = prepare(f"out={tmp_path / 'whole'}", "processes=1")
    assert status == 0
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert {path.name: path.read_bytes() for path in prepare.out.iterdir()} == whole


def test_class_folders_and_unreadable_images(prepare: Command) -> None:
    status, output, _ = prepare("target=folder", "source.bad=[3]", "max_bad_fraction=0.03", "processes=1")
    assert status == 0
    assert "near-infrared" not in output
    assert "attributes" in output.partition("not kept")[2].splitlines()[0]
    assert "1, see skipped.csv" in output
    assert "p03/3.jpg,burnt" in (prepare.out / "skipped.csv").read_text()
    assert len(list(prepare.out.glob("p0?/*.jpg"))) == 39
    assert (prepare.out / ComputedSource(40).key(17)).read_bytes() == picture(17, 64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry"], "--dry: there is no such flag. Flags: --[no-]align, --[no-]dry-run, --[no-]shuffle"),
        (["target=folder", "source.names=[a,../b,c,d]"], "class 1 cannot be written as '../b'"),
        (["source.bad=[3]", "max_bad_fraction=0", "processes=1"], "p03/3.jpg: burnt"),
    ],
)
def test_mistakes(prepare: Command, arguments: list[str], message: str) -> None:
    status, _, errors = prepare(*arguments)
    assert status == 1
    assert message in errors
