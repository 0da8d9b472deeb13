"""A brake on closing months for a clock that jumped: closing is for ever, and clocks are put right.

Owns the one row of `bill_clock`: what the database's clock said when it was last read, which the
beat does all the time. A reading far from the last one is a clock that jumped, or a studio that was
off for long; no program can tell which. So a person says that the clock is right.
"""

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.errors import AtelierError

JUMP_MAX = timedelta(days=7)  # a week's holiday of the machine; less than a month too early


class ClockJumped(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The database's clock moved further than the studio has watched it: no month is closed."""

    code = "clock_jumped"
    status = 503


def read_clock(session: Session, *, is_vouched_for: bool = False) -> datetime:
    """Return the database's time, and remember it as seen.

    Raises `ClockJumped` if it is more than a week from what was seen last, either way, unless
    somebody vouches for it; what was seen stays then.
    """
    seen_at: datetime | None
    at: datetime
    seen_at, at = session.execute(_SEEN).one()
    if seen_at is not None and abs(at - seen_at) > JUMP_MAX and not is_vouched_for:
        raise ClockJumped(
            f"The database's clock says {at:%Y-%m-%d %H:%M} UTC and said {seen_at:%Y-%m-%d %H:%M} "
            "when it was last looked at, so no month is closed. If it is right, and the studio was "
            "off in between, say so: `atelier close-month YYYY-MM --clock-is-right`."
        )
    session.execute(_SEE, {"at": at})
    return at


class BillClock(Base):
    """When the database's clock was last read, by itself. One row."""

    __tablename__ = "bill_clock"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seen_at: Mapped[datetime]


_SEEN = text("SELECT (SELECT seen_at FROM bill_clock), clock_timestamp()")

_SEE = text(
    """
    INSERT INTO bill_clock (id, seen_at) VALUES (1, :at)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
    """
)
