"""The ``privface`` command: ``privface APP KEY=VALUE ...``, each app a config of the group ``app``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from src.apps.command_line import describe, expand_flags, refuse_flags
from src.apps.overrides import CONF, check
from src.apps.user_errors import user_errors
from src.errors import UserError

__all__ = ["main"]

USAGE = """\
privface APP KEY=VALUE ...       run an app; --some-key is short for some_key=true, --no-some-key for some_key=false
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
            overrides = _collect_bare_words(expand_flags(overrides, CONF / "app" / f"{app}.yaml"), app)
        config = check("privface", [f"app={app}", *overrides])
        instantiate(config.run)


def _collect_bare_words(arguments: Sequence[str], app: str) -> list[str]:
    """Write words without ``=`` as the list that the app's ``bare_words`` names."""
    path = CONF / "app" / f"{app}.yaml"
    refuse_flags(arguments, path)
    words = [argument for argument in arguments if "=" not in argument and not argument.startswith("~")]
    if not words:
        return list(arguments)
    key = OmegaConf.select(OmegaConf.load(path), "bare_words")
    if key is None:
        raise UserError(f"{words[0]!r}: expected KEY=VALUE; privface {app} --help lists the keys")
    quoted = [QuotedString(word, Quote.single).with_quotes() for word in words]
    return [*(argument for argument in arguments if argument not in words), f"{key}=[{','.join(quoted)}]"]


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
