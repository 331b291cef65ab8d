"""Making the two folders of a gallery."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, nullcontext
from pathlib import Path

from src.errors import UserError
from src.models.cancellable.durable import SHARED, explain_failure, make_folder, replace_file
from src.models.cancellable.identifier_store import IdentifierKind, IdentifierStore
from src.models.cancellable.locks import lock_for_writing
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.record_store import INDEX, StoreIndex
from src.models.cancellable.template_store import PARAMETERS, TemplateStore

__all__ = ["check_stores", "create_stores"]

_ID_BYTES = 16


def check_folders(templates: Path, identifiers: Path) -> None:
    """Raise UserError if one of the folders is or lies in the other."""
    first, second = templates.resolve(), identifiers.resolve()
    if first == second or first in second.parents or second in first.parents:
        raise UserError(
            f"templates={templates}, identifiers={identifiers}: expected two folders apart from each other; whoever "
            "gets hold of both has the codes of all faces"
        )


def check_stores(templates: Path, identifiers: Path) -> None:
    """Raise UserError if two folders do not hold a gallery."""
    check_folders(templates, identifiers)
    if not (templates / PARAMETERS).exists():
        _check_unused(templates)
        raise UserError(f"{templates}: holds no gallery, {PARAMETERS} is missing; enrol somebody to make one")
    IdentifierStore.check(identifiers)


def create_stores(templates: Path, identifiers: Path, parameters: Parameters, kind: IdentifierKind) -> None:
    """Make both stores, empty.

    The parameters are written last: a folder that has them holds a whole gallery. If the process dies before that,
    the same call does everything again; both folders then name the same gallery, or the one of identifiers none.

    Raises:
        UserError: A folder holds a gallery or something else, or one lies in the other, or others may read that of
            identifiers.
    """
    check_folders(templates, identifiers)
    with ExitStack() as stack:
        stack.enter_context(explain_failure(templates, lambda: "no gallery was made; the same call begins again"))
        make_folder(identifiers, 0o700)
        IdentifierStore.check_usable(identifiers)
        make_folder(templates, 0o755)
        stack.enter_context(lock_for_writing(templates, identifiers))
        if (templates / PARAMETERS).exists():
            raise UserError(f"{templates}: holds a gallery already; open it, or give another folder")
        _check_unused(templates)
        gallery = StoreIndex.read(templates).gallery if (templates / INDEX).exists() else secrets.token_hex(_ID_BYTES)
        if _is_used(identifiers, gallery):
            raise UserError(f"{identifiers}: holds the identifiers of another gallery; give another folder")
        TemplateStore(templates, parameters, nullcontext).create(gallery)
        IdentifierStore.prepare(identifiers, kind)
        IdentifierStore(identifiers, parameters, nullcontext).create(gallery)
        replace_file(templates / PARAMETERS, parameters.to_json(), SHARED)


def _check_unused(templates: Path) -> None:
    """Refuse a folder of templates that has lost its parameters; an interrupted creation leaves an empty index."""
    has_index = (templates / INDEX).exists()
    if any(templates.glob("*.drht")) or (has_index and StoreIndex.read(templates).next_version > 1):
        raise UserError(f"{templates}: holds templates but no {PARAMETERS}; restore {PARAMETERS} from a copy")


def _is_used(identifiers: Path, gallery: str) -> bool:
    """Whether a folder holds what a template might need, and not just an interrupted creation of ``gallery``."""
    if (identifiers / INDEX).exists():
        index = StoreIndex.read(identifiers)
        return index.gallery != gallery or index.next_version > 1
    return any(identifiers.glob("*.drhi"))
