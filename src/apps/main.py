"""The ``privface`` command: ``privface APP KEY=VALUE ...``, each app a config of the group ``app``."""

from __future__ import annotations

import sys

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from src.apps.command_line import describe, user_errors
from src.apps.overrides import CONF, check
from src.errors import UserError

__all__ = ["main"]

USAGE = """\
privface APP KEY=VALUE ...       run an app; --some-key is short for some_key=true
privface APP --help              its keys and their defaults"""


def main() -> None:
    """Run the app that the command line names; a mistake ends with one message and exit status 1."""
    arguments = sys.argv[1:]
    apps = sorted(path.stem for path in (CONF / "app").glob("*.yaml"))
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_usage(apps)
        return
    app, *overrides = arguments
    if app in apps and any(flag in overrides for flag in ("-h", "--help")):
        Console().print((CONF / "app" / f"{app}.yaml").read_text(encoding="utf-8"), markup=False, soft_wrap=True)
        return
    with user_errors():
        if app in apps:
            overrides = _expand_flags(app, overrides)
        config = check("privface", [f"app={app}", *overrides])
        instantiate(config.run)


def _expand_flags(app: str, arguments: list[str]) -> list[str]:
    """Write `--some-key` as `some_key=true`."""
    config = OmegaConf.load(CONF / "app" / f"{app}.yaml")
    assert isinstance(config, DictConfig)
    keys = {str(key) for key, value in config.items_ex(resolve=False) if isinstance(value, bool)}
    expanded = []
    for argument in arguments:
        key = argument.removeprefix("--").replace("-", "_")
        if argument.startswith("--") and key not in keys:
            flags = ", ".join(f"--{key.replace('_', '-')}" for key in sorted(keys)) or "none"
            raise UserError(f"{argument}: no such flag of {app}; flags: {flags}. Other keys are given as KEY=VALUE.")
        expanded.append(f"{key}=true" if argument.startswith("--") else argument)
    return expanded


def _print_usage(apps: list[str]) -> None:
    table = Table("app", "what it does", box=None, pad_edge=False)
    for app in apps:
        table.add_row(app, describe(CONF / "app" / f"{app}.yaml"))
    console = Console()
    console.print(USAGE, markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(table)


if __name__ == "__main__":
    main()
