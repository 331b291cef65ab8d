"""What the tests of `privface generate` share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_commands import run_command
from support_generate import SMALL, write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Keys that name a generator, a recogniser and real people."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def generated(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, with shards of it beside it."""
    out = tmp_path_factory.mktemp("generated") / "people"
    typed = run_command(
        "privface", "generate", *inputs, *SMALL, f"out={out}", f"shards={out.parent / 'shards'}", "--sheet"
    )
    assert typed.returncode == 0, typed.stderr
    (out.parent / "output.txt").write_text(typed.stdout)
    return out
