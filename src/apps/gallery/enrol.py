"""``privface gallery enrol``: people from photographs into a gallery."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.apps.gallery.arguments import to_path
from src.apps.gallery.encoding import Encoder
from src.apps.gallery.enrolment import Enrolment
from src.apps.gallery.interruption import deferred_stop, stops_cleanly
from src.apps.gallery.output import check_writable, count, grid, list_unreadable
from src.apps.gallery.people_table import PeopleTable
from src.apps.gallery.photographs import NamedBy, Photograph, describe_alignment, find_people
from src.apps.gallery.settings import Settings
from src.errors import UserError
from src.files import explain_full_disk
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.identifier_store import IdentifierKind
from src.models.cancellable.parameters import LutScope
from src.progress import image_progress

__all__ = ["run"]

_NAMED = 5
_UNNAMED = "left out, nobody says who is on them"
_REVOKED = "left out, of people who were revoked"


def run(
    images: Path | str,
    named_by: NamedBy,
    label_map: Path | str | None,
    ckpt_path: Path | str,
    templates: Path | str,
    identifiers: Path | str,
    out: Path | str,
    *,
    flip: bool | None,
    lut_bits: int | None,
    lut_scope: LutScope | None,
    identifier: IdentifierKind | None,
    threshold: float | None,
    batch_size: int,
    device: str,
    max_bad_fraction: float,
) -> None:
    """Enrol the photographs that are not in the gallery yet, and print a table.

    Args:
        images: Folder of photographs, see :func:`~src.apps.gallery.photographs.find_people`.
        named_by: See there.
        label_map: See there.
        ckpt_path: Checkpoint of a training that makes codes.
        templates: Folder of the template store; made if there is no gallery.
        identifiers: Folder of the identifier store; made if there is no gallery.
        out: CSV file ``image,person,pid``; rows are added to it. People of it who are not in the gallery were revoked,
            and are left out.
        flip: See :class:`Settings`, like the next four.
        lut_bits: See there.
        lut_scope: See there.
        identifier: See there.
        threshold: See there.
        batch_size: See :class:`~src.apps.gallery.encoding.Encoder`.
        device: See there.
        max_bad_fraction: See there.

    Raises:
        UserError: Something is missing or does not fit, raised before any long work; or too many photographs are
            unreadable.
        SystemExit: After Ctrl-C or SIGTERM, with status 130; what was enrolled until then stays so.
    """
    start = time.perf_counter()
    settings = Settings(flip, lut_bits, lut_scope, identifier, threshold)
    templates, identifiers = to_path("templates", templates), to_path("identifiers", identifiers)
    images, out = to_path("images", images), to_path("out", out)
    check_writable(out)
    people = PeopleTable(out)
    if (len(people) or people.pending) and not CancellableGallery.exists(templates):
        raise UserError(f"out={out}: is the table of another gallery, {templates} holds none yet; give another name")
    photographs, unnamed = find_people(images, named_by, None if label_map is None else to_path("label_map", label_map))
    checkpoint = to_path("ckpt_path", ckpt_path)
    encoder = Encoder(checkpoint, device=device, batch_size=batch_size, max_bad_fraction=max_bad_fraction)
    kept = f"What was enrolled so far is in the gallery and in {out}; the same command goes on from there"
    with (
        stops_cleanly(f"{kept}."),
        explain_full_disk(templates, kept),
        _open(templates, identifiers, settings, encoder) as gallery,
    ):
        people = PeopleTable(out)  # only now nobody else writes it
        enrolment = Enrolment(gallery, templates, people)
        revoked = enrolment.revoked(photographs)
        missing = enrolment.missing(photographs)
        _list_revoked(revoked, out)
        if not missing:
            others = count(len(photographs) - len(revoked), "photograph")
            Console().print(f"{templates} holds all of {others} already, nothing to do.", soft_wrap=True)
            return
        _enrol(enrolment, encoder, missing, flip=gallery.parameters.flip, out_of=len(photographs))
        if not enrolment.photographs and len(missing) == len(photographs):
            raise UserError("images: no photograph can be read")
        before = len(photographs) - len(missing) - len(revoked)
        facts = _describe(enrolment, before, {_UNNAMED: unnamed, _REVOKED: len(revoked)}, encoder)
        facts.add_row("faces", describe_alignment(photographs))
        facts.add_row("people", f"{enrolment.new_people:,} new")
        _describe_gallery(facts, gallery, people)
    facts.add_row("time", f"{time.perf_counter() - start:,.1f} s")
    console = Console()
    console.print(facts)
    console.print(
        f"Next: privface gallery identify images=DIR ckpt_path={ckpt_path} templates={templates} "
        f"identifiers={identifiers}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _open(templates: Path, identifiers: Path, settings: Settings, encoder: Encoder) -> CancellableGallery:
    """The gallery, open for writing; made if there is none."""
    if not CancellableGallery.exists(templates):
        kind = settings.identifier or "csprng"
        return CancellableGallery.create(templates, identifiers, settings.parameters(encoder), kind)
    with ExitStack() as stack:
        gallery = stack.enter_context(CancellableGallery.open(templates, identifiers, write=True))
        settings.check(gallery)
        gallery.check_network(encoder.fingerprint)
        stack.pop_all()
    return gallery


def _enrol(
    enrolment: Enrolment, encoder: Encoder, photographs: Sequence[Photograph], *, flip: bool, out_of: int
) -> None:
    """Enrol photographs; after a request to stop those that were computed by then, and leave as Ctrl-C does."""
    with deferred_stop() as stop:
        with image_progress() as progress:
            bar = progress.add_task("enrolling", total=len(photographs))
            for readable, codes in encoder.encode(photographs, flip=flip, out_of=out_of):
                enrolment.add(readable, codes)
                progress.update(bar, completed=enrolment.photographs + len(encoder.unreadable))
                if stop:
                    break
        enrolment.finish()
    list_unreadable(encoder.unreadable)
    if stop:
        raise KeyboardInterrupt


def _list_revoked(photographs: Sequence[Photograph], out: Path) -> None:
    """Say, on the standard error stream, who is left out because he was revoked."""
    if not photographs:
        return
    people = sorted({photograph.person for photograph in photographs})
    names = ", ".join(people[:_NAMED]) + (f" and {len(people) - _NAMED:,} more" if len(people) > _NAMED else "")
    Console(stderr=True).print(
        f"left out {count(len(photographs), 'photograph')} of {count(len(people), 'person', 'people')} whose numbers "
        f"in {out} the gallery does not have any more, they were revoked: {names}. To enrol them again delete their "
        "rows there.",
        style="yellow",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _describe(enrolment: Enrolment, before: int, left_out: Mapping[str, int], encoder: Encoder) -> Table:
    others = {"enrolled before": before, **left_out, "unreadable": len(encoder.unreadable)}
    numbers = [f"{number:,} {what}" for what, number in others.items() if number]
    table = grid()
    table.add_row("enrolled", "; ".join([count(enrolment.photographs, "photograph"), *numbers]))
    return table


def _describe_gallery(table: Table, gallery: CancellableGallery, people: PeopleTable) -> None:
    stats = gallery.stats()
    strangers = len(set(gallery.pids).difference(row.pid for row in people))
    table.add_row("gallery", f"{count(stats.people, 'person', 'people')}, {count(stats.templates, 'template')}")
    table.add_row("templates", f"{decimal(stats.template_bytes)}, identifiers {decimal(stats.identifier_bytes)}")
    table.add_row("table", f"{people.path}: {count(len(people), 'row')} image,person,pid")
    if strangers:
        table.add_row("", f"[yellow]not in it: {count(strangers, 'person', 'people')} of the gallery")
