"""The block list: PDQ hashes of pictures that nobody may make here, by whom they came and why.

Owns the table `blocked_hash`. A row with an organisation is that organisation's own, made by a
reviewer; one without came from a feed that the operator imported and counts for everybody. Feeds of
the industry need a membership that most operators will not have, so the list is empty at first.
Taking a hash off the list keeps its row with a date. What matches is decided in `inference.safety`.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base, now
from licensing.errors import AtelierError

HASH_BYTES = 32
SOURCE_CHARACTERS_MAX = 64
IMPORTED_AT_ONCE = 5_000  # rows a statement; a feed has millions
LOCAL = "reviewer"

_HEX = re.compile(r"[0-9a-f]{64}")


class InvalidHash(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A line of a feed is no PDQ hash."""

    code = "invalid_hash"
    status = 422


@dataclass(frozen=True)
class Entry:
    """One hash in force; `organisation_id` None is everybody's."""

    id: int
    pdq: bytes
    organisation_id: uuid.UUID | None
    category: str
    source: str


@dataclass(frozen=True)
class Count:
    """How many hashes of a source are in force; `organisations` None where for everybody."""

    source: str
    category: str
    hashes: int
    organisations: int | None


@dataclass(frozen=True)
class Match:
    """What a hash is a copy of, and how many of its 256 bits differ."""

    category: str
    source: str
    distance: int


@dataclass(frozen=True)
class Revision:
    """Changes whenever the list does; who holds a copy of the list compares it."""

    newest_id: int
    last_removed_at: datetime | None


def block(
    session: Session,
    *,
    organisation_id: uuid.UUID,
    pdq: bytes,
    category: str,
    note: str,
    added_by: uuid.UUID,
) -> None:
    """Put one hash on an organisation's list; again is harmless."""
    row = {"organisation_id": organisation_id, "pdq": pdq, "added_by": added_by}
    _add(session, [{**row, "category": category, "source": LOCAL, "note": note}])


def import_feed(session: Session, lines: Iterable[str], *, source: str, category: str) -> int:
    """Put a feed's hashes on everybody's list; returns how many were new.

    A line is 64 hexadecimal digits, anything after a comma or a space is left alone, empty lines
    and those that begin with # too. Raises `InvalidHash` with the number of the first other line;
    nothing of the feed is then kept, if the caller's transaction ends with the error.
    """
    if not 1 <= len(source) <= SOURCE_CHARACTERS_MAX or source == LOCAL:
        raise InvalidHash(f"A feed needs a name of 1 to {SOURCE_CHARACTERS_MAX} characters.")
    fixed = {"organisation_id": None, "category": category, "source": source, "note": ""}
    hashes, added = _read(lines), 0
    while part := list(islice(hashes, IMPORTED_AT_ONCE)):
        added += _add(session, [{**fixed, "pdq": pdq, "added_by": None} for pdq in part])
    return added


def unblock(session: Session, organisation_id: uuid.UUID, pdq: bytes, removed_by: uuid.UUID) -> int:
    """Take a hash off an organisation's own list; a feed's entry stays. Returns how many rows."""
    values = {"organisation_id": organisation_id, "pdq": pdq, "by": removed_by, "at": now()}
    return len(session.execute(_UNBLOCK, values).all())


def drop_feed(session: Session, source: str) -> int:
    """Take all hashes of a feed off the list. Returns how many."""
    return len(session.execute(_DROP_FEED, {"source": source, "at": now()}).all())


def drop_missing(session: Session, lines: Iterable[str], *, source: str) -> int:
    """Take off the list what a feed had and its new file has not. Returns how many.

    Raises `InvalidHash` as `import_feed` does.
    """
    kept = set(_read(lines))
    query = select(BlockedHash.id, BlockedHash.pdq).where(
        BlockedHash.organisation_id.is_(None),
        BlockedHash.source == source,
        BlockedHash.removed_at.is_(None),
    )
    gone = [row.id for row in session.execute(query) if row.pdq not in kept]
    for first in range(0, len(gone), IMPORTED_AT_ONCE):
        part = BlockedHash.id.in_(gone[first : first + IMPORTED_AT_ONCE])
        session.execute(update(BlockedHash).where(part).values(removed_at=now()))
    return len(gone)


def counts(session: Session) -> list[Count]:
    """What is in force, by source and category; the longest first."""
    query = (
        select(
            BlockedHash.source,
            BlockedHash.category,
            func.count(),
            func.nullif(func.count(BlockedHash.organisation_id.distinct()), 0),
        )
        .where(BlockedHash.removed_at.is_(None))
        .group_by(BlockedHash.source, BlockedHash.category)
        .order_by(func.count().desc(), BlockedHash.source, BlockedHash.category)
    )
    return [Count(*row) for row in session.execute(query)]


def nearest(
    session: Session, organisation_id: uuid.UUID, orientations: Sequence[bytes], distance_max: int
) -> Match | None:
    """Find what is in force for an organisation within some bits of any of some hashes.

    For a picture now and then: the whole list is read, a million hashes in seconds. Whoever asks
    often keeps an index (`inference.safety.known`).
    """
    if not orientations:
        return None
    bits = [f"{int.from_bytes(one, 'big'):0{8 * HASH_BYTES}b}" for one in orientations]
    values = {"wanted": bits, "organisation_id": organisation_id, "most": distance_max}
    found = session.execute(_NEAREST, values).one_or_none()
    return None if found is None else Match(*found)


def revision(session: Session) -> Revision:
    """What to compare a copy with; two index look-ups."""
    query = select(func.coalesce(func.max(BlockedHash.id), 0), func.max(BlockedHash.removed_at))
    return Revision(*session.execute(query).one())


def entries(session: Session) -> Iterator[Entry]:
    """Every hash in force, in no order that means anything."""
    query = select(
        BlockedHash.id,
        BlockedHash.pdq,
        BlockedHash.organisation_id,
        BlockedHash.category,
        BlockedHash.source,
    ).where(BlockedHash.removed_at.is_(None))
    rows = session.execute(query.execution_options(yield_per=IMPORTED_AT_ONCE))
    return (Entry(*row) for row in rows)


def _add(session: Session, rows: list[dict[str, object]]) -> int:
    stamped = [{**row, "added_at": now()} for row in rows]
    adding = insert(BlockedHash).values(stamped).on_conflict_do_nothing()
    return len(session.execute(adding.returning(BlockedHash.id)).all())


def _read(lines: Iterable[str]) -> Iterator[bytes]:
    for number, line in enumerate(lines, start=1):
        first = re.split(r"[,\s]", line.strip().lower(), maxsplit=1)[0]
        if not first or first.startswith("#"):
            continue
        if _HEX.fullmatch(first) is None:
            raise InvalidHash(f"Line {number} is not a PDQ hash of 64 hexadecimal digits.")
        yield bytes.fromhex(first)


class BlockedHash(Base):
    """One hash on the list, or one that was."""

    __tablename__ = "blocked_hash"
    __table_args__ = (
        CheckConstraint(f"octet_length(pdq) = {HASH_BYTES}", name="pdq"),
        Index(
            "ix_blocked_hash_pdq",
            "pdq",
            "source",
            "organisation_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "ix_blocked_hash_removed_at",
            "removed_at",
            postgresql_where=text("removed_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organisation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("organisation.id"))
    pdq: Mapped[bytes] = mapped_column(LargeBinary)
    category: Mapped[str]
    source: Mapped[str]
    note: Mapped[str]
    added_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    added_at: Mapped[datetime]
    removed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    removed_at: Mapped[datetime | None]


_UNBLOCK = text(
    """
    UPDATE blocked_hash SET removed_at = :at, removed_by = :by
     WHERE organisation_id = :organisation_id AND pdq = :pdq AND source = 'reviewer'
       AND removed_at IS NULL
    RETURNING id
    """
)

_NEAREST = text(
    """
    WITH wanted AS MATERIALIZED (
        SELECT CAST(one AS bit(256)) AS pdq FROM unnest(CAST(:wanted AS text[])) AS one
    ), listed AS MATERIALIZED (
        SELECT id, category, source, CAST('x' || encode(pdq, 'hex') AS bit(256)) AS pdq
          FROM blocked_hash
         WHERE removed_at IS NULL
           AND (organisation_id IS NULL OR organisation_id = :organisation_id)
    )
    SELECT listed.category, listed.source, bit_count(listed.pdq # wanted.pdq) AS distance
      FROM listed CROSS JOIN wanted
     WHERE bit_count(listed.pdq # wanted.pdq) <= :most
     ORDER BY distance, listed.id LIMIT 1
    """
)

_DROP_FEED = text(
    """
    UPDATE blocked_hash SET removed_at = :at
     WHERE organisation_id IS NULL AND source = :source AND removed_at IS NULL
    RETURNING id
    """
)
