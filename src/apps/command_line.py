"""From what was typed to a composed configuration: help, checks and error messages of every command.

Nothing here imports torch, so ``--help`` and a typo answer in about a second.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.errors import UserError

__all__ = ["CONF", "check", "describe", "launch", "print_help", "user_errors"]

CONF = Path(__file__).resolve().parents[2] / "conf"


def launch(
    config_name: str,
    task: Callable[[DictConfig], Any],
    usage: str,
    before: Callable[[DictConfig], None] = lambda config: None,
) -> None:
    """Run ``task`` on the configuration that the command line asks for.

    ``--help`` prints ``usage`` and the experiments. Unknown names and missing values end the process with one
    message and exit status 1 before anything is imported or written; so does a `UserError` of the task.

    Args:
        config_name: Primary config in ``conf/``, without its extension.
        task: Called with the composed config, once per job of a multirun.
        usage: Text printed above the list of experiments by ``--help``.
        before: Called with the composed config before Hydra writes anything; may raise `UserError`. Not called for a
            multirun, whose jobs have folders of their own.
    """
    arguments = get_args_parser().parse_args()
    if arguments.help:
        print_help(config_name, usage, arguments.overrides)
        return

    def guarded(config: DictConfig) -> Any:
        with user_errors():
            return task(config)

    with user_errors():
        # --config-dir and friends change what exists; Hydra's own messages serve there.
        if arguments.config_dir is None and arguments.config_name is None and not arguments.info:
            config = check(config_name, arguments.overrides)
            if not arguments.multirun and arguments.cfg is None:
                before(config)
    hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()


def check(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose ``config_name`` with ``overrides`` as a dry run and explain every mistake in them.

    Of a sweep (``key=a,b``) each choice of a group is checked and the first value of a key is composed.

    Args:
        config_name: Primary config in ``conf/``, without its extension.
        overrides: As typed, e.g. ``["experiment=arcface", "trainer.max_epochs=3"]``.

    Returns:
        The composed config with its ``hydra`` node, interpolations unresolved.

    Raises:
        UserError: An override cannot be parsed, names an unknown group, member or key, or a value is missing.
            The message lists the nearest names.
    """
    parsed = _parse(overrides)
    with _groups(config_name, parsed) as groups:
        _check_groups(groups, parsed)
        chosen = [o for o in parsed if groups.members(o.key_or_group) or o.key_or_group == "hydra.searchpath"]
        _check_keys(groups, _compose(config_name, chosen), parsed)
        config = _compose(config_name, parsed)
    _check_missing(config)
    return config


def print_help(config_name: str, usage: str, overrides: Sequence[str] = ()) -> None:
    """Print ``usage``, the experiments with the first comment line of their files, and where to read on."""
    console = Console()
    console.print(usage.strip(), highlight=False, markup=False, soft_wrap=True)
    table = Table("experiment", "what it does", box=None, pad_edge=False)
    with _groups(config_name, _parse(overrides)) as groups:
        for name in groups.members("experiment"):
            table.add_row(name, describe(CONF / "experiment" / f"{name}.yaml"))
        names = [name for name in groups.names() if name not in ("experiment", "hydra", "app")]
    console.print("\n[bold]Experiments[/bold]")
    console.print(table)
    console.print(f"\n[bold]Groups[/bold] (GROUP=MEMBER): {', '.join(sorted(names))}", highlight=False)
    console.print(
        f"\nEvery key: python {config_name}.py experiment=NAME --cfg job\n"
        "Your own configs: hydra.searchpath=[file:///path/to/your/conf]\n"
        "Hydra's own flags: --hydra-help",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


class _Groups:
    """The config groups that a command line can see, its own search path included."""

    def __init__(self, config_name: str, search_path: list[str]) -> None:
        self._loader = GlobalHydra.instance().config_loader()
        self._config_name = config_name
        self._search_path = search_path

    def names(self) -> list[str]:
        return self._loader.list_groups("")

    def members(self, group: str) -> list[str]:
        return self._loader.get_group_options(
            group, results_filter=ObjectType.CONFIG, config_name=self._config_name, overrides=self._search_path
        )


@contextmanager
def _groups(config_name: str, overrides: Iterable[Override]) -> Iterator[_Groups]:
    search_path = [str(o.input_line) for o in overrides if o.key_or_group == "hydra.searchpath"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield _Groups(config_name, search_path)


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for override in overrides:
        try:
            parsed.append(parser.parse_override(override))
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"cannot read the override {override!r}: {reason}\nExpected KEY=VALUE.") from None
    return parsed


def describe(path: Path) -> str:
    """First comment line of a config file: what it is, for ``--help``."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    comments = [line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line]
    return comments[0] if comments else ""


def _compose(config_name: str, overrides: Iterable[Override]) -> DictConfig:
    lines = []
    for override in overrides:
        line = str(override.input_line)
        if override.is_sweep_override():
            line = f"{line.split('=', 1)[0]}={next(override.sweep_string_iterator())}"
        lines.append(line)
    try:
        return compose(config_name, overrides=lines, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error).strip()) from None


def _members(override: Override) -> list[str]:
    """Names that a group override chooses: one, a list, or those of a sweep."""
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [str(item) for item in flat if item is not None]


def _check_groups(groups: _Groups, overrides: Iterable[Override]) -> None:
    for override in overrides:
        group = override.key_or_group
        options = groups.members(group)
        if not options or override.is_delete():
            continue
        for member in _members(override):
            folder, _, leaf = member.rpartition("/")
            if leaf not in groups.members(f"{group}/{folder}" if folder else group):
                raise UserError(_unknown(f"{group}={member}", member, options, f"members of {group}"))


def _check_keys(groups: _Groups, config: DictConfig, overrides: Iterable[Override]) -> None:
    for override in overrides:
        key = override.key_or_group
        if groups.members(key) or override.is_add() or override.is_force_add() or key.startswith("hydra"):
            continue
        parent, _, leaf = key.rpartition(".")
        node = OmegaConf.select(config, parent, throw_on_missing=False) if parent else config
        if isinstance(node, DictConfig):
            if leaf in node.keys():  # noqa: SIM118 - `in node` is False for a value that is still missing
                continue
            prefix = f"{parent}." if parent else ""
            siblings = [f"{prefix}{name}" for name in map(str, node)] + ([] if parent else groups.names())
        else:
            siblings = [str(name) for name in config]
        near = siblings + [name for name, _ in _flatten(config) if name.rpartition(".")[2] == leaf]
        raise UserError(
            _unknown(key, key, near, "keys there")
            + f"\nTo add a key that the config does not have, write +{override.input_line}"
        )


def _check_missing(config: DictConfig) -> None:
    nodes = [str(node) for node in config if node != "hydra"]
    missing = [name for name, value in _flatten(OmegaConf.masked_copy(config, nodes)) if value._is_missing()]
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise UserError(f"no value for {', '.join(missing)}\nGive one on the command line: {given}")


def _flatten(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and nodes of all keys below ``node``; interpolations are not followed."""
    for key in map(str, node):
        name, child = f"{prefix}{key}", node._get_node(key)
        yield name, child
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            yield from _flatten(child, f"{name}.")


def _unknown(what: str, name: str, choices: Sequence[str], title: str) -> str:
    choices = sorted(set(choices))
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{what} does not exist.{hint}\n{title}: {', '.join(choices)}"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a `UserError` of the block, also where Hydra wraps it, into a message and exit status 1."""
    try:
        yield
    except (UserError, InstantiationException) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is None:
            raise
        message = escape(str(cause))
        Console(stderr=True).print(f"[bold red]error:[/bold red] {message}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
