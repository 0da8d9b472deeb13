"""PDQ hashes of the pictures made here, so that a reported copy finds its original.

Owns the table `fingerprint`. The beat hashes the thumbnails of what has none yet, a part at a time;
nobody who waits for a picture waits for its hash. `find` holds a hash in all eight orientations
against every picture of the studio in one statement that takes as long whether it finds one or not.
"""

import io
import logging
import uuid
from collections.abc import Sequence
from datetime import datetime

from PIL import Image, UnidentifiedImageError
from sqlalchemy import ForeignKey, select, text
from sqlalchemy.dialects.postgresql import BIT, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from inference.generations import Picture
from inference.storage import Storage
from licensing.db import Base, Database, now

PART_MAX = 200  # pictures in one go; two seconds of one core
HASH_SECONDS = 60.0  # how often the beat looks
BITS = 256
DISTANCE_MAX = 31  # as in `inference.safety.pdq`: PDQ's authors' "same picture"

_log = logging.getLogger(__name__)


def hash_new(database: Database, storage: Storage) -> int:
    """Hash up to `PART_MAX` pictures that have no fingerprint; return how many."""
    with database.read() as session:
        query = (
            select(Picture.id, Picture.thumbnail_key)
            .outerjoin(Fingerprint, Fingerprint.picture_id == Picture.id)
            .where(Fingerprint.picture_id.is_(None), Picture.thumbnail_key.is_not(None))
            .order_by(Picture.created_at)
            .limit(PART_MAX)
        )
        waiting = session.execute(query).all()
    rows = [
        {"picture_id": picture_id, "pdq": _hash(storage, key), "made_at": now()}
        for picture_id, key in waiting
    ]
    if rows:
        with database.transaction() as session:
            # A picture may have been erased meanwhile.
            left = select(Picture.id).where(Picture.id.in_([row["picture_id"] for row in rows]))
            there = set(session.scalars(left.with_for_update(key_share=True)))
            kept = [row for row in rows if row["picture_id"] in there]
            if kept:
                session.execute(insert(Fingerprint).values(kept).on_conflict_do_nothing())
    return len(rows)


def find(session: Session, orientations: Sequence[bytes]) -> list[uuid.UUID]:
    """The pictures within 31 bits of any of some hashes (32 bytes each), nearest first."""
    if not orientations:
        return []
    wanted = [_bits(pdq) for pdq in orientations]
    near = session.execute(_NEAR, {"wanted": wanted, "most": DISTANCE_MAX})
    return [row.picture_id for row in near]


def pdq_of(session: Session, picture_id: uuid.UUID) -> bytes | None:
    """The hash of a picture (32 bytes); None if it has none or is too plain for one."""
    bits = session.scalar(select(Fingerprint.pdq).where(Fingerprint.picture_id == picture_id))
    return None if bits is None else int(str(bits), 2).to_bytes(BITS // 8, "big")


def _hash(storage: Storage, key: str | None) -> str | None:
    """The bits of a stored picture; None where it has too little in it to be told from others."""
    assert key is not None, "asked for above"
    from inference.safety import pdq  # noqa: PLC0415 - its package is loaded where it is needed

    try:
        with Image.open(io.BytesIO(storage.read(key))) as image:
            found = pdq.fingerprint(image)
    except (OSError, UnidentifiedImageError) as error:
        _log.warning("A picture could not be hashed: %s", error)
        return None
    return _bits(found.orientations[0].tobytes()) if found.is_usable else None


def _bits(pdq: bytes) -> str:
    return f"{int.from_bytes(pdq, 'big'):0{BITS}b}"


class Fingerprint(Base):
    """One picture's hash; `pdq` is None where it would match many. It goes with its picture."""

    __tablename__ = "fingerprint"

    picture_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("picture.id", ondelete="CASCADE"), primary_key=True
    )
    pdq: Mapped[str | None] = mapped_column(BIT(BITS))
    made_at: Mapped[datetime]


# Every hash is read, whether one fits or not, so that the time tells nothing; each wanted one is
# made of its text once and not once a row: a million pictures take a third of the time.
_NEAR = text(
    """
    WITH wanted AS MATERIALIZED (
        SELECT CAST(one AS bit(256)) AS pdq FROM unnest(CAST(:wanted AS text[])) AS one
    )
    SELECT made.picture_id, min(bit_count(made.pdq # wanted.pdq)) AS distance
      FROM fingerprint AS made CROSS JOIN wanted
     WHERE bit_count(made.pdq # wanted.pdq) <= :most
     GROUP BY made.picture_id ORDER BY distance, made.picture_id LIMIT 20
    """
)
