"""A data set that was not finished, grows, or was changed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from PIL import Image
from support_generate import SMALL, contents, generate, without

from src.apps.generate.folder import GeneratedFolder
from src.errors import UserError


def test_more_people_are_added_and_fewer_are_refused(inputs: list[str], generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "people"
    generate(*inputs, *without("ids=1"), "ids=1", f"out={out}")
    (out / ".generate" / "journal.jsonl").open("a").write('{"person": 1, "ru')  # killed while it wrote
    (out / "id_1" / "VIS").mkdir(parents=True)  # or before that
    generate(*inputs, *SMALL, f"out={out}")
    assert contents(out) == contents(generated)
    before = contents(out)
    generate(*inputs, *SMALL, f"out={out}")
    assert contents(out) == before
    with pytest.raises(UserError, match="holds 3 people already, found 2"):
        generate(*inputs, *without("ids=2"), "ids=2", f"out={out}")
    with pytest.raises(UserError, match=r"generated otherwise \(psi was 0\.7, is now 0\.5\)"):
        generate(*inputs, *SMALL, "psi=0.5", f"out={out}")


def test_a_killed_run_goes_on(inputs: list[str], generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "people"
    # Forked: an interpreter of its own would take seconds to start.
    process = multiprocessing.get_context("fork").Process(target=generate, args=(*inputs, *SMALL, f"out={out}"))
    process.start()
    deadline = time.monotonic() + 60
    while not list(out.glob(".generate/id_0*")) and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not (out / "manifest.jsonl").exists()
    generate(*inputs, *SMALL, f"out={out}")
    assert contents(out) == contents(generated)


def test_a_changed_image_is_noticed(inputs: list[str], generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "people"
    shutil.copytree(generated, out)
    real = Path(dict(key.split("=", 1) for key in inputs)["source.root"]) / "VIS/1_1.jpg"
    with Image.open(real) as image:
        image.save(out / "id_2/VIS/sample_1_VIS.png")
    with pytest.raises(UserError, match="1 people resemble a real person when their images are read back"):
        generate(*inputs, *SMALL, f"out={out}")


def test_a_damaged_journal(generated: Path, inputs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "people"
    shutil.copytree(generated, out)
    (out / ".generate/journal.jsonl").write_text("{}\n")
    settings = json.loads((out / ".generate/settings.json").read_text())
    with pytest.raises(UserError, match=r"journal\.jsonl: damaged"):
        GeneratedFolder(out, settings)
