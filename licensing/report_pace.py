"""How many reports one address may send in an hour, counted for all web processes together.

Owns the table `report_pace`, one row an address in the hour by the database's clock. It keeps a
program from drowning those who read take-down requests. Rows of hours that are over go with the
next count, so that no address is kept longer; the table is not logged, as `licensing.api_pace`.
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.reports import TooManyReports

OF_ADDRESS_IN_AN_HOUR_MAX = 10  # one person with a handful of pictures; a program wants more


def count(session: Session, address: str) -> None:
    """Count one report; raises `TooManyReports` from the one after the limit on.

    Let it be a transaction of its own: it is committed without waiting for the disk.
    """
    sent = session.execute(_COUNT, {"address": address}).one().sent
    if sent > OF_ADDRESS_IN_AN_HOUR_MAX:
        raise TooManyReports(
            f"{OF_ADDRESS_IN_AN_HOUR_MAX} reports came from your address within an hour, which is "
            "the limit. Go on in the next, or write to whoever runs this studio."
        )


class ReportPace(Base):
    """The reports of one address in one hour."""

    __tablename__ = "report_pace"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    address: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    sent: Mapped[int]


_COUNT = text(
    """
    WITH over AS (
        DELETE FROM report_pace WHERE hour < date_trunc('hour', clock_timestamp())
    )
    INSERT INTO report_pace AS pace (address, hour, sent)
    VALUES (:address, date_trunc('hour', clock_timestamp()), 1)
    ON CONFLICT (address, hour) DO UPDATE SET sent = pace.sent + 1
    RETURNING sent, set_config('synchronous_commit', 'off', true)
    """
)
