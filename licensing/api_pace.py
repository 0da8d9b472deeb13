"""How many requests one API key may send in a minute, counted for all web processes together.

Owns the table `api_pace`, one row a key: the minute by the database's clock and what was sent in
it. It keeps a program in a loop from taking the database from everybody else. The table is not
logged, and a count is not waited for on the disk: after a crash the minute begins anew.
"""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.errors import AtelierError

REQUESTS_PER_MINUTE = 600  # ten a second: eight jobs looked at every second, with room


class TooManyRequests(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The key has sent as many requests in this minute as one key may."""

    code = "too_many_requests"
    status = 429


def count(session: Session, key_id: uuid.UUID, *, limit: int = REQUESTS_PER_MINUTE) -> None:
    """Count one request; raises `TooManyRequests` from the one after the limit on.

    Let it be a transaction of its own: it is committed without waiting for the disk.
    """
    sent = session.execute(_COUNT, {"key_id": key_id}).one().sent
    if sent > limit:
        raise TooManyRequests(
            f"This key has sent {limit} requests within a minute, which is the limit. "
            "Wait a moment; ask for a running job every second or two."
        )


class ApiPace(Base):
    """The requests of one key in the minute of its latest one."""

    __tablename__ = "api_pace"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_key.id"), primary_key=True)
    minute: Mapped[datetime]
    sent: Mapped[int]


_COUNT = text(
    """
    INSERT INTO api_pace AS pace (key_id, minute, sent)
    VALUES (:key_id, date_trunc('minute', clock_timestamp()), 1)
    ON CONFLICT (key_id) DO UPDATE
       SET sent = CASE WHEN pace.minute = excluded.minute THEN pace.sent + 1 ELSE 1 END,
           minute = excluded.minute
    RETURNING sent, set_config('synchronous_commit', 'off', true)
    """
)
