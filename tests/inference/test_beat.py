"""The beat closes months that have ended, beside the sweep."""

import threading
from datetime import date
from pathlib import Path

from factories import team
from sqlalchemy import select, text

from inference.beat import create_beat
from inference.queue import CLOSE
from inference.settings import from_environment
from licensing.bills import BillMonth, month_before
from licensing.bills.close import GRACE
from licensing.db import Database, now


def test_the_beat_closes_last_month_once(
    database: Database, broker_url: str, tmp_path: Path
) -> None:
    people = team(database)
    with database.transaction() as session:
        session.execute(
            text("UPDATE organisation SET created_at = created_at - interval '40 days'")
        )
    celery = create_beat(
        from_environment(
            {
                "DATABASE_URL": database.url,
                "BROKER_URL": broker_url,
                "ATELIER_STATE": str(tmp_path),
            }
        )
    )
    assert celery.conf.beat_schedule["close"]["task"] == CLOSE
    for _ in range(2):
        before = set(threading.enumerate())
        celery.tasks[CLOSE]()
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
    year, month = month_before(now() - GRACE)
    with database.read() as session:
        closed = session.scalars(select(BillMonth).order_by(BillMonth.starts_on)).all()
    assert {one.organisation_id for one in closed} == {people.id}
    assert closed[-1].starts_on == date(year, month, 1)
    assert all(one.closed_at is not None for one in closed)
