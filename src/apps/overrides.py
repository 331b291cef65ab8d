"""What was typed after a command, held against the configs that there are.

Nothing here imports torch, so a typo is answered in half a second.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import UserError

__all__ = ["CONF", "Groups", "check", "parse", "visible_groups"]

CONF = Path(__file__).resolve().parents[2] / "conf"
_EXTRAS = {
    "hydra/launcher/submitit_slurm": ("hydra-submitit-launcher", "slurm"),
    "hydra/sweeper/optuna": ("hydra-optuna-sweeper", "sweep"),
}
_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def check(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose ``config_name`` with ``overrides`` as a dry run and explain every mistake in them.

    Of a sweep (``key=a,b``) each value is checked and the first is composed. A config that makes itself a multirun,
    by ``hydra.mode: MULTIRUN``, sweeps over its ``hydra.sweeper.params`` too.

    Args:
        config_name: Primary config in ``conf/``, without its extension.
        overrides: As typed, e.g. ``["experiment=arcface", "trainer.max_epochs=3"]``.

    Returns:
        The composed config with its ``hydra`` node, interpolations unresolved.

    Raises:
        UserError: An override cannot be parsed, names an unknown group, member or key, has a value of another kind than
            the default, or a value is missing. The message lists the nearest names.
    """
    with visible_groups(config_name, parse(overrides)) as groups:
        parsed = parse(overrides, groups.loader)
        _check_groups(groups, parsed)
        chosen = [
            o for o in parsed if groups.members(o.key_or_group) or o.key_or_group in ("hydra.searchpath", "hydra.mode")
        ]
        defaults = _compose(config_name, chosen)
        _check_launcher(defaults, parsed)
        if defaults.hydra.mode == RunMode.MULTIRUN:
            _check_name_of_sweep(parsed)
            parsed = [*_swept_by_config(defaults, groups, parsed), *parsed]
            _check_groups(groups, parsed)
        _check_keys(groups, defaults, parsed)
        _check_values(defaults, parsed)
        config = _compose(config_name, parsed)
    _check_missing(config)
    return config


class Groups:
    """The config groups that a command line can see, its own search path included."""

    def __init__(self, config_name: str, search_path: list[str]) -> None:
        self.loader = GlobalHydra.instance().config_loader()
        self._config_name = config_name
        self._search_path = search_path

    def names(self) -> list[str]:
        """Top-level groups."""
        return self.loader.list_groups("")

    def members(self, group: str) -> list[str]:
        """Members of ``group``; none if there is no such group. An experiment or app in a folder is ``folder/name``."""
        members = self._options(group, ObjectType.CONFIG)
        # What lies in the folders of other groups are groups of their own.
        if group.partition("/")[0] in ("app", "experiment"):
            for folder in self._options(group, ObjectType.GROUP):
                members += [f"{folder}/{member}" for member in self.members(f"{group}/{folder}")]
        return sorted(members)

    def _options(self, group: str, kind: ObjectType) -> list[str]:
        return self.loader.get_group_options(
            group, results_filter=kind, config_name=self._config_name, overrides=self._search_path
        )


@contextmanager
def visible_groups(config_name: str, overrides: Iterable[Override]) -> Iterator[Groups]:
    """Groups that a command with these overrides sees; Hydra is initialised within the block."""
    search_path = [str(o.input_line) for o in overrides if o.key_or_group == "hydra.searchpath"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield Groups(config_name, search_path)


def parse(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Read overrides; raises UserError for one that has no ``KEY=VALUE`` form.

    Args:
        overrides: As typed.
        loader: Finds what ``key=glob(...)`` stands for; without it such sweeps cannot be enumerated.
    """
    parser = OverridesParser.create()
    parsed = []
    for override in overrides:
        try:
            parsed.append(parser.parse_override(override))
            parsed[-1].config_loader = loader
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"cannot read the override {override!r}: {reason}\nExpected KEY=VALUE.") from None
    return parsed


def _compose(config_name: str, overrides: Iterable[Override]) -> DictConfig:
    lines = []
    for override in overrides:
        line = str(override.input_line)
        if override.is_sweep_override():
            line = f"{line.split('=', 1)[0]}={_values_as_text(override)[0]}"
        lines.append(line)
    try:
        return compose(config_name, overrides=lines, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        _check_extra(str(getattr(error, "missing_cfg_file", None)))
        raise UserError(str(error).strip()) from None


def _values_as_text(sweep: Override) -> list[str]:
    """Values of a sweep as they would be typed one by one; of an interval, which optimisers search, its start."""
    value = sweep.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start)]
    values = list(sweep.sweep_string_iterator())
    if not values:
        raise UserError(f"{sweep.input_line}: nothing to sweep over")
    return values


def _swept_by_config(config: DictConfig, groups: Groups, typed: Iterable[Override]) -> list[Override]:
    """Overrides in ``hydra.sweeper.params`` of a composed config, but those of the same key that were ``typed``."""
    keys = {override.key_or_group for override in typed}
    params = config.hydra.sweeper.get("params") or {}
    swept = parse([f"{key}={value}" for key, value in params.items()], groups.loader)
    return [override for override in swept if override.key_or_group not in keys]


def _check_name_of_sweep(overrides: Iterable[Override]) -> None:
    """Refuse a sweep over experiments whose folder has no name."""
    typed = {override.key_or_group: override for override in overrides}
    if "experiment" in typed and typed["experiment"].is_sweep_override() and "name" not in typed:
        raise UserError(
            f"{typed['experiment'].input_line}: a sweep over experiments needs a name for its folder, e.g. name=compare"
        )


def _check_launcher(defaults: DictConfig, overrides: Iterable[Override]) -> None:
    """Raise UserError if a launcher is chosen for a run that Hydra would start without it."""
    typed = next((str(o.input_line) for o in overrides if o.key_or_group == "hydra/launcher"), None)
    if typed is not None and defaults.hydra.mode != RunMode.MULTIRUN:
        raise UserError(f"{typed}: launchers start the jobs of a multirun. Add -m, also for a single job.")


def _check_extra(config: str) -> None:
    """Raise UserError if a config that does not exist is one that comes with a package of an extra."""
    if config in _EXTRAS:
        package, extra = _EXTRAS[config]
        raise UserError(
            f'{config} comes with the package {package}, which is not installed.\npip install "privface[{extra}]" '
            "installs it; in a checkout, make setup does."
        )


def _members(override: Override) -> list[str]:
    """Names that a group override chooses: one, a list, or those of a sweep."""
    values = _values_as_text(override) if override.is_sweep_override() else [override.value()]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [str(item) for item in flat if item is not None]


def _check_groups(groups: Groups, overrides: Iterable[Override]) -> None:
    for override in overrides:
        group = override.key_or_group
        options = groups.members(group)
        if not options or override.is_delete():
            continue
        for member in _members(override):
            folder, _, leaf = member.rpartition("/")
            if leaf not in groups.members(f"{group}/{folder}" if folder else group):
                _check_extra(f"{group}/{member}")
                raise UserError(_unknown(f"{group}={member}", member, options, f"members of {group}"))


def _check_keys(groups: Groups, config: DictConfig, overrides: Iterable[Override]) -> None:
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
        elsewhere = [name for name, _ in _flatten(config) if not name.startswith("hydra.")]
        near = siblings + [name for name in elsewhere if name.rpartition(".")[2] == leaf]
        raise UserError(
            _unknown(key, key, near, "keys there")
            + f"\nTo add a key that the config does not have, write +{override.input_line}"
        )


def _check_values(defaults: DictConfig, overrides: Iterable[Override]) -> None:
    """Refuse text where the default is a number or a switch; ``auto`` and interpolations are let through."""
    for override in overrides:
        default = OmegaConf.select(defaults, override.key_or_group, throw_on_resolution_failure=False)
        kind = _KINDS.get(type(default))
        if kind is None:
            continue
        is_enumerable = override.is_sweep_override() and override.is_discrete_sweep()
        values = list(override.sweep_iterator()) if is_enumerable else [override.value()]
        for value in values:
            if not _fits(value, default):
                raise UserError(
                    f"{override.key_or_group}: expected {kind}, such as the default {default}; found {value!r}"
                )


def _fits(value: Any, default: Any) -> bool:
    """Whether ``value`` is of the kind of ``default``."""
    if isinstance(value, bool) or (isinstance(value, str) and value != "auto" and "${" not in value):
        return isinstance(value, bool) and isinstance(default, bool)
    return not (isinstance(default, int) and isinstance(value, float))


def _check_missing(config: DictConfig) -> None:
    nodes = [str(node) for node in config if node != "hydra"]
    missing = [name for name, value in _flatten(OmegaConf.masked_copy(config, nodes)) if value._is_missing()]
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise UserError(f"no value for {', '.join(missing)}\nGive one on the command line: {given}")


def _flatten(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and nodes of all keys below ``node``; interpolations are not followed."""
    for key in node:
        name, child = f"{prefix}{key!s}", node._get_node(key)
        yield name, child
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            yield from _flatten(child, f"{name}.")


def _unknown(what: str, name: str, choices: Sequence[str], title: str) -> str:
    choices = sorted(set(choices))
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{what} does not exist.{hint}\n{title}: {', '.join(choices)}"
