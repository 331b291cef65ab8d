"""The ``privface`` command: ``privface APP KEY=VALUE ...``, each app a config of the group ``app``.

A folder of that group is an app of several commands: ``privface gallery enrol KEY=VALUE ...``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

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

_APPS = CONF / "app"
_HELP = ("-h", "--help")


def main() -> None:
    """Run the app that the command line names; a mistake ends with one message and exit status 1."""
    with user_errors():
        app, arguments = _split(sys.argv[1:])
        arguments = _without_password(arguments)
        path = _APPS / f"{app}.yaml"
        if path.is_file() and any(argument in _HELP for argument in arguments):
            Console().print(path.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
        elif not app or (_APPS / app).is_dir():
            _print_usage(app)
        else:
            if path.is_file():
                arguments = _collect_bare_words(expand_flags(arguments, path), app)
            config = check(_primary(path), [f"app={app}", *arguments])
            instantiate(config.run)


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The app and what was typed after it; of an app of several commands ``folder/command``.

    Where there is nothing, or a request for help, in place of the name, it is the folder alone or the empty string.
    """
    app = ""
    for position, word in enumerate(words):
        if word in _HELP:
            break
        if "=" in word or word.startswith("-"):
            command = f"privface {app}".strip()
            raise UserError(f"{word!r}: expected a name after {command}; {command} --help lists them")
        app = f"{app}/{word}" if app else word
        if not (_APPS / app).is_dir():
            return app, list(words[position + 1 :])
    return app, []


def _primary(path: Path) -> str:
    """The config that an app is part of: its own ``primary``, or that of all apps, which has no experiment."""
    named = OmegaConf.select(OmegaConf.load(path), "primary") if path.is_file() else None
    return named or "privface"


def _without_password(arguments: Sequence[str]) -> list[str]:
    """Refuse a password before any message can repeat it; ``--password`` asks for it, which commands do by default."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+~-") == "password" and value not in ("", "null"):
            raise UserError(
                "password: never give it on the command line, where all users of this machine see it and the shell "
                "keeps it; choose another one, and leave the key out to be asked for it, or set password_file=FILE or "
                "password_env=NAME"
            )
    return [argument for argument in arguments if argument != "--password"]


def _collect_bare_words(arguments: Sequence[str], app: str) -> list[str]:
    """Write words without ``=`` as the list that the app's ``bare_words`` names."""
    path = _APPS / f"{app}.yaml"
    refuse_flags(arguments, path)
    words = [argument for argument in arguments if "=" not in argument and not argument.startswith("~")]
    if not words:
        return list(arguments)
    key = OmegaConf.select(OmegaConf.load(path), "bare_words")
    if key is None:
        raise UserError(f"{words[0]!r}: expected KEY=VALUE; privface {app.replace('/', ' ')} --help lists the keys")
    quoted = [QuotedString(word, Quote.single).with_quotes() for word in words]
    return [*(argument for argument in arguments if argument not in words), f"{key}=[{','.join(quoted)}]"]


def _print_usage(folder: str) -> None:
    """List all commands, or those of one app."""
    command = f"privface {folder or 'APP'}{' COMMAND' if folder else ''}"
    usage = Table.grid(padding=(0, 4))
    usage.add_row(f"{command} KEY=VALUE ...", "run it; --some-key is short for some_key=true, --no-some-key for =false")
    usage.add_row(f"{command} --help", "its keys and their defaults")
    table = Table("command" if folder else "app", "what it does", box=None, pad_edge=False)
    for path in sorted((_APPS / folder).rglob("*.yaml")):
        name = path.relative_to(_APPS).with_suffix("").as_posix()
        table.add_row(name.replace("/", " "), describe(path))
    console = Console()
    console.print(usage)
    console.print()
    console.print(table)


if __name__ == "__main__":
    main()
