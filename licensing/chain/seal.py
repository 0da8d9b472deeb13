"""The sealer: links what was written since, a few seconds later, and never in anybody's way.

A trigger has put each logged row's name into `chain_pending`, in the transaction that wrote the
row: one that commits late turns up late, and none is missed. The sealer of a chain holds its
advisory lock, so there is one writer; it takes a batch, links it in the order of arrival and
deletes the names, all in one transaction: a crash loses nothing and links nothing twice.
"""

import secrets
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from licensing.chain import rows, sources
from licensing.chain.links import (
    BEGINNING,
    SALT_BYTES,
    Link,
    digest_of,
    hash_fields,
    hash_words,
)
from licensing.chain.rows import Row
from licensing.chain.tables import ChainLink, ChainPending
from licensing.db import Database, now

BATCH_MAX = 500  # links in one transaction: a tenth of a second
LOCK_SALT = 0x636861696E  # apart from other advisory locks of this database


def seal(database: Database, *, batches_max: int | None = None) -> int:
    """Link everything that is committed now; returns how many rows. Safe to call at any time.

    With `batches_max`, no more than so many batches of each chain.
    """
    with database.read() as session:
        waiting = session.scalars(select(ChainPending.chain_id).distinct()).all()
    return sum(_seal_chain(database, chain_id, batches_max) for chain_id in waiting)


def lock(session: Session, chain_id: uuid.UUID) -> None:
    """Be the one writer of a chain until the transaction ends."""
    number = (chain_id.int ^ LOCK_SALT) & (2**63 - 1)
    session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _seal_chain(database: Database, chain_id: uuid.UUID, batches_max: int | None) -> int:
    total = 0
    for _ in count() if batches_max is None else range(batches_max):
        with database.transaction() as session:
            sealed = _seal_batch(session, chain_id)
        total += sealed
        if sealed < BATCH_MAX:
            break
    return total


def _seal_batch(session: Session, chain_id: uuid.UUID) -> int:
    lock(session, chain_id)
    waiting = session.scalars(
        select(ChainPending)
        .where(ChainPending.chain_id == chain_id)
        .order_by(ChainPending.id)
        .limit(BATCH_MAX)
    ).all()
    if not waiting:
        return 0
    length, previous = _head(session, chain_id)
    found, moment = _rows(session, waiting), now()
    made = []
    for number, name in enumerate(waiting, start=length + 1):
        row = found.get((name.kind, name.key))
        link = _link(name, row, number=number, previous=previous, moment=moment)
        made.append(vars(link))
        previous = link.digest
    session.execute(insert(ChainLink), made)
    done = delete(ChainPending).where(ChainPending.id.in_([name.id for name in waiting]))
    session.execute(done.execution_options(synchronize_session=False))
    return len(made)


def _head(session: Session, chain_id: uuid.UUID) -> tuple[int, bytes]:
    query = select(ChainLink.number, ChainLink.digest).where(ChainLink.chain_id == chain_id)
    last = session.execute(query.order_by(ChainLink.number.desc()).limit(1)).one_or_none()
    return (last.number, last.digest) if last else (0, BEGINNING)


def _rows(session: Session, waiting: Sequence[ChainPending]) -> dict[tuple[str, str], Row]:
    """What the waiting rows hold now, by kind and key; a row that was deleted is not among them."""
    keys: dict[str, list[str]] = defaultdict(list)
    for name in waiting:
        keys[name.kind].append(name.key)
    return {
        (kind, key): row
        for kind, wanted in keys.items()
        for key, row in rows.read(session, sources.newest(kind), wanted).items()
    }


def _link(
    name: ChainPending, row: Row | None, *, number: int, previous: bytes, moment: datetime
) -> Link:
    salt = secrets.token_bytes(SALT_BYTES) if row and row.words else None
    link = Link(
        chain_id=name.chain_id,
        number=number,
        kind=name.kind,
        key=name.key,
        layout=sources.newest(name.kind).layout,
        fields_hash=hash_fields(row.fields if row else None),
        words_hash=hash_words(row.words, salt) if row and row.words and salt else None,
        salt=salt,
        sealed_at=moment,
        previous=previous,
        digest=b"",
    )
    return replace(link, digest=digest_of(link))
