"""Commands as a user types them, in processes that are forked with everything imported: a start takes no seconds.

`tests.apps.test_training` and `tests.apps.test_main` start the interpreter anew, as a terminal does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from src.apps.main import main
from src.apps.overrides import CONF

__all__ = ["run_command", "succeed", "workspace"]

ROOT = CONF.parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "src.apps.training",
        "src.apps.evaluation",
        "src.apps.comparison",
        "src.apps.sweep",
        "src.apps.gallery.enrol",
        "src.apps.anonymize.anonymize",
        "src.apps.convert",
        "src.datamodules.procfaces.dataset",
        "src.models.drh",
        "src.models.recognizer",
    ]
)


def run_command(
    script: str, *arguments: str, root: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in the folder of the project.

    Args:
        script: ``train.py``, ``eval.py`` or ``privface``.
        arguments: What follows it.
        root: Folder for data and runs; by default the project's.
        environment: Further variables.
    """
    variables = {"WANDB_MODE": "offline", **(environment or {})}
    if root is not None:
        variables["PRIVFACE_ROOT"] = str(root)
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        streams = [multiprocessing.reduction.DupFd(file.fileno()) for file in (output, errors)]
        process = _FORKS.Process(target=_run, args=(script, arguments, variables, *streams))
        process.start()
        process.join()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([script, *arguments], process.exitcode or 0, output.read(), errors.read())


def succeed(root: Path, script: str, *arguments: str) -> str:
    """What a command printed that must end well; its data and runs are in ``root``."""
    result = run_command(script, *arguments, root=root)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def workspace(factory: pytest.TempPathFactory) -> Path:
    """A folder for data and runs, whose data are those of all workspaces: a set of faces is drawn once."""
    folder = factory.mktemp("privface")
    base = factory.getbasetemp()
    data = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "data"
    data.mkdir(exist_ok=True)
    (folder / "data").symlink_to(data)
    return folder


def _run(script, arguments, variables, output, errors) -> None:  # type: ignore[no-untyped-def]
    """Become the command: its streams, folder, variables, arguments and exit status."""
    multiprocessing.set_start_method(None, force=True)  # or its own workers would come from the same server
    os.dup2(output.detach(), 1)
    os.dup2(errors.detach(), 2)
    os.chdir(ROOT)
    os.environ.update(variables)
    torch.set_num_threads(1)
    if script == "privface":
        sys.argv = [script, *arguments]
        main()
    else:
        sys.argv = [str(ROOT / script), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")
