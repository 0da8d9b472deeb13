"""The log as the database has it: chains, their links in order with rows, and what is loose."""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from licensing.chain import rows, sources
from licensing.chain.links import Link
from licensing.chain.rows import Row
from licensing.chain.tables import STUDIO, ChainCheckpoint, ChainLink
from licensing.chain.verify import Finding, Logged, person_of
from licensing.db import Database

PAGE = 1_000  # links in memory at a time, with their rows
LOOSE_MAX = 20  # of each table: the first says where to look

_COLUMNS = tuple(Link.__dataclass_fields__)


def still(database: Database) -> Session:
    """A session that sees one moment of the database, however long it reads."""
    session = Session(database.engine, expire_on_commit=False)
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    # It reads everything that ever happened; a limit meant for pages must not call that a fault.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    return session


def chains(session: Session) -> list[uuid.UUID]:
    """Every chain that has a link or a checkpoint."""
    linked = set(session.scalars(select(ChainLink.chain_id).distinct()))
    kept = set(session.scalars(select(ChainCheckpoint.chain_id).distinct()))
    return sorted(linked | kept, key=lambda chain_id: (chain_id != STUDIO, chain_id))


def links(session: Session, chain_id: uuid.UUID) -> Iterator[Logged]:
    """The links of a chain in order, each with its row as it is now."""
    last = 0
    while True:
        query = select(*(getattr(ChainLink, name) for name in _COLUMNS)).where(
            ChainLink.chain_id == chain_id, ChainLink.number > last
        )
        page = [Link(*row) for row in session.execute(query.order_by(ChainLink.number).limit(PAGE))]
        yield from _with_rows(session, page)
        if len(page) < PAGE:
            return
        last = page[-1].number


def loose(session: Session) -> Iterator[Finding]:
    """Rows of logged tables that are neither linked nor waiting: put in past the trigger."""
    for source in sources.current():
        for key in rows.unlinked(session, source, LOOSE_MAX):
            row = rows.read(session, source, [key]).get(key)
            chain_id = row.fields.get("organisation_id") if row else None
            name = f"{source.kind} {key}"
            yield Finding(
                "inserted",
                uuid.UUID(chain_id) if chain_id else STUDIO,
                0,
                name,
                f"{name} is in no chain: it was inserted past the log, or its link was deleted.",
            )


def _with_rows(session: Session, page: Sequence[Link]) -> Iterator[Logged]:
    keys: dict[tuple[str, int], list[str]] = defaultdict(list)
    for link in page:
        keys[link.kind, link.layout].append(link.key)
    found: dict[tuple[str, int, str], Row] = {}
    for (kind, layout), wanted in keys.items():
        source = sources.source(kind, layout)
        if source is not None:  # else a link of no table that we know: its row is not there
            read = rows.read(session, source, wanted)
            found.update({(kind, layout, key): row for key, row in read.items()})
    for link in page:
        source = sources.source(link.kind, link.layout)
        row = found.get((link.kind, link.layout, link.key))
        yield Logged(link, row, person_of(row, source.person if source else None))
