"""Signed words about how far each chain has come, kept in the database and, better, elsewhere.

A chain that was cut off at its end, or written anew from its beginning, is whole in itself. What
contradicts it is a checkpoint out of its writer's reach: a file on another machine, an e-mail, a
print. The beat signs one an hour for every chain that grew; `atelier audit checkpoint --out FILE`
writes the latest of all chains to a file.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from licensing.chain.canonical import canonical, plain
from licensing.chain.documents import Unusable, lines_of, write_lines
from licensing.chain.signing import LogKey, is_signed
from licensing.chain.tables import ChainCheckpoint, ChainLink
from licensing.chain.verify import Finding, Known
from licensing.db import Database, now

FORMAT = "atelier checkpoint 1"
EVERY = timedelta(hours=1)  # what may be cut off without the database's own checkpoints telling


@dataclass(frozen=True)
class Checkpoint:
    """At `number` links the chain's digest was `digest`; the last row was `kind` `key`."""

    chain_id: uuid.UUID
    number: int
    digest: bytes
    kind: str
    key: str
    made_at: datetime
    public_key: bytes
    signature: bytes

    def content(self) -> bytes:
        """What is signed: everything but the signature, as canonical JSON."""
        return canonical({"format": FORMAT, **_fields(self)})

    def known(self) -> Known:
        """As the walk along a chain reads it."""
        return Known(self.number, self.digest, f"{self.kind} {self.key}", plain(self.made_at))


def make(database: Database, key: LogKey, *, older_than: timedelta = timedelta()) -> int:
    """Sign the head of every chain that grew since its last checkpoint; returns how many.

    A chain whose last one is younger than `older_than` waits.
    """
    with database.transaction() as session:
        due = _due(session, now() - older_than)
        for link in due:
            made = Checkpoint(
                chain_id=link.chain_id,
                number=link.number,
                digest=link.digest,
                kind=link.kind,
                key=link.key,
                made_at=now(),
                public_key=key.public,
                signature=b"",
            )
            values = {**vars(made), "signature": key.sign(made.content())}
            session.add(ChainCheckpoint(**values))
    return len(due)


def stored(session: Session, *, latest_only: bool = False) -> list[Checkpoint]:
    """The checkpoints in the database, or each chain's latest."""
    query = select(ChainCheckpoint).order_by(
        ChainCheckpoint.chain_id, ChainCheckpoint.number.desc()
    )
    if latest_only:
        query = query.ext(distinct_on(ChainCheckpoint.chain_id))
    names = Checkpoint.__dataclass_fields__
    return [
        Checkpoint(**{name: getattr(row, name) for name in names}) for row in session.scalars(query)
    ]


def write(path: Path, checkpoints: Sequence[Checkpoint]) -> None:
    """Write a file of checkpoints, one a line. Raises `Unusable`."""
    write_lines(path, (to_json(one) for one in checkpoints))


def read(path: Path) -> list[Checkpoint]:
    """Read a file that `write` wrote. Raises `Unusable`."""
    return [from_json(line) for line in lines_of(path)]


def to_json(one: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a line of a file."""
    return {"format": FORMAT, **_fields(one), "signature": one.signature.hex()}


def from_json(line: dict[str, Any]) -> Checkpoint:
    """A line of a file as a checkpoint. Raises `Unusable`."""
    try:
        if line["format"] != FORMAT:
            raise Unusable("This is not a file of checkpoints.")
        return Checkpoint(
            chain_id=uuid.UUID(line["chain"]),
            number=int(line["number"]),
            digest=bytes.fromhex(line["digest"]),
            kind=str(line["kind"]),
            key=str(line["key"]),
            made_at=datetime.fromisoformat(line["made_at"]),
            public_key=bytes.fromhex(line["public_key"]),
            signature=bytes.fromhex(line["signature"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable("This is not a file of checkpoints.") from error


def unsigned(checkpoints: Iterable[Checkpoint], trusted: frozenset[bytes]) -> list[Finding]:
    """Those that no trusted key has signed as they are."""
    return [
        Finding(
            "unsigned",
            one.chain_id,
            one.number,
            f"{one.kind} {one.key}",
            f"The checkpoint of {plain(one.made_at)} for link {one.number} is not signed by a key "
            f"that is trusted here ({one.public_key.hex()}).",
        )
        for one in checkpoints
        if one.public_key not in trusted
        or not is_signed(one.content(), one.signature, one.public_key)
    ]


def _due(session: Session, before: datetime) -> list[ChainLink]:
    last = (
        select(
            ChainCheckpoint.chain_id,
            func.max(ChainCheckpoint.number).label("number"),
            func.max(ChainCheckpoint.made_at).label("made_at"),
        )
        .group_by(ChainCheckpoint.chain_id)
        .subquery()
    )
    heads = (
        select(ChainLink.chain_id, func.max(ChainLink.number).label("number"))
        .group_by(ChainLink.chain_id)
        .subquery()
    )
    query = (
        select(ChainLink)
        .join(
            heads,
            (heads.c.chain_id == ChainLink.chain_id) & (heads.c.number == ChainLink.number),
        )
        .outerjoin(last, last.c.chain_id == ChainLink.chain_id)
        .where(
            func.coalesce(last.c.number, 0) < ChainLink.number,
            func.coalesce(last.c.made_at, before) <= before,
        )
    )
    return list(session.scalars(query))


def _fields(one: Checkpoint) -> dict[str, Any]:
    return {
        "chain": str(one.chain_id),
        "number": one.number,
        "digest": one.digest.hex(),
        "kind": one.kind,
        "key": one.key,
        "made_at": plain(one.made_at),
        "public_key": one.public_key.hex(),
    }
