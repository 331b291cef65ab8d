"""From what was typed to a running task: help, checks before anything is imported, errors without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from src.apps.overrides import CONF, check, parse, visible_groups
from src.apps.sweep import run_job
from src.apps.user_errors import user_errors
from src.errors import UserError

__all__ = ["describe", "expand_flags", "launch", "print_help", "refuse_flags"]


def launch(
    config_name: str,
    task: Callable[[DictConfig], Any],
    usage: str,
    before: Callable[[DictConfig], None] = lambda config: None,
) -> None:
    """Run ``task`` on the configuration that the command line asks for.

    ``--help`` prints ``usage`` and the experiments. Flags of the config are expanded as `expand_flags` does, Hydra's
    own reach Hydra. Unknown names and missing values end the process with one message and exit status 1 before
    anything is imported or written; so does a `UserError` of the task. In a multirun the other jobs are run all the
    same, and the process ends with exit status 1 after the last, see `src.apps.sweep`.

    Args:
        config_name: Primary config in ``conf/``, without its extension.
        task: Called with the composed config, once per job of a multirun.
        usage: Text printed above the list of experiments by ``--help``.
        before: Called with the composed config before Hydra writes anything; may raise `UserError`. Not called for a
            multirun, whose jobs have folders of their own.
    """
    parser, path = get_args_parser(), CONF / f"{config_name}.yaml"
    sys.argv[1:] = expand_flags(sys.argv[1:], path)  # where Hydra and the processes of a strategy read them
    with user_errors():
        refuse_flags(parser.parse_known_args()[1], path)
    arguments = parser.parse_args()
    if arguments.help:
        print_help(config_name, usage, arguments.overrides)
        return

    def guarded(config: DictConfig) -> Any:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return run_job(task, config)
        with user_errors():
            return task(config)

    with user_errors():
        # --config-dir and friends change what exists; Hydra's own messages serve there.
        if arguments.config_dir is None and arguments.config_name is None and not arguments.info:
            mode = ["hydra.mode=MULTIRUN"] if arguments.multirun else []
            config = check(config_name, [*arguments.overrides, *mode])
            if config.hydra.mode != RunMode.MULTIRUN and arguments.cfg is None:
                before(config)
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()


def expand_flags(arguments: Sequence[str], path: Path) -> list[str]:
    """Write ``--some-key`` as ``some_key=true`` and ``--no-some-key`` as ``some_key=false``.

    Args:
        arguments: As typed.
        path: Config whose switches, its top-level keys that are true or false, are flags.
    """
    flags: dict[str, str] = {}
    for key in _switches(path):
        flag = key.replace("_", "-")
        flags |= {f"--{flag}": f"{key}=true", f"--no-{flag}": f"{key}=false"}
    return [flags.get(argument, argument) for argument in arguments]


def refuse_flags(arguments: Sequence[str], path: Path) -> None:
    """Raise UserError if one of the ``arguments`` is a flag; what the config at ``path`` has is expanded before."""
    for argument in arguments:
        if argument.startswith("-"):
            raise UserError(
                f"{argument}: there is no such flag. Flags: {_flag_names(path)}. Other keys are given as KEY=VALUE."
            )


def _flag_names(path: Path) -> str:
    return ", ".join(f"--[no-]{key.replace('_', '-')}" for key in sorted(_switches(path))) or "none"


def _switches(path: Path) -> set[str]:
    """Top-level keys of a config file, and of the files beside it that it builds on, that are true or false."""
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    keys = {str(key) for key, value in config.items_ex(resolve=False) if isinstance(value, bool)}
    bases = [entry for entry in config.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return keys.union(*(_switches(path.with_name(f"{base}.yaml")) for base in bases))


def print_help(config_name: str, usage: str, overrides: Sequence[str] = ()) -> None:
    """Print ``usage``, the experiments with the first comment line of their files, and where to read on."""
    console = Console()
    console.print(usage.strip(), highlight=False, markup=False, soft_wrap=True)
    table = Table("experiment", "what it does", box=None, pad_edge=False)
    with visible_groups(config_name, parse(overrides)) as groups:
        for name in groups.members("experiment"):
            table.add_row(name, describe(CONF / "experiment" / f"{name}.yaml"))
        names = [name for name in groups.names() if name not in ("experiment", "hydra", "app")]
    console.print("\n[bold]Experiments[/bold]")
    console.print(table)
    console.print(f"\n[bold]Groups[/bold] (GROUP=MEMBER): {', '.join(sorted(names))}", highlight=False)
    console.print(
        f"\nFlags: {_flag_names(CONF / f'{config_name}.yaml')}"
        f"\nEvery key: python {config_name}.py experiment=NAME --cfg job\n"
        "Your own configs: hydra.searchpath=[file:///path/to/your/conf]\n"
        "Hydra's own flags: --hydra-help",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def describe(path: Path) -> str:
    """First comment line of a config file: what it is, for ``--help``."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    comments = [line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line]
    return comments[0] if comments else ""
