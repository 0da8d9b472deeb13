"""Months of a bill's tests: work that was really held, settled and written down."""

import csv
import io
import uuid
from datetime import UTC, datetime

from licensing import bills, ledger, usage
from licensing.db import Database
from licensing.seats import Member

# A month that has ended, and its neighbours.
NOVEMBER = datetime(2025, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2025, 12, 1, tzinfo=UTC)


def use(
    database: Database,
    who: Member,
    at: datetime | None = NOVEMBER,
    *,
    unit_price_micros: int = 15_000,
    images: int = 1,
    model: str = "pocket-turbo",
    project: str | None = None,
    team_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Pay for a generation and write its line, as a worker's last transaction does."""
    generation_id = uuid.uuid4()
    amount_micros = unit_price_micros * images
    with database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=who.organisation_id,
            member_id=who.id,
            generation_id=generation_id,
            amount_micros=amount_micros,
            price_version="2026-11",
        )
    with database.transaction() as session:
        usage.record(
            session,
            generation_id=generation_id,
            organisation_id=who.organisation_id,
            member_id=who.id,
            model=model,
            images=images,
            width=512,
            height=768,
            amount_micros=amount_micros,
            price_version="2026-11",
            price_class="turbo",
            unit_price_micros=unit_price_micros,
            project=project,
            team_id=team_id,
            at=at,
        )
        assert ledger.settle(session, generation_id, amount_micros)
    return generation_id


def refund(database: Database, generation_id: uuid.UUID, amount_micros: int = 5_000) -> None:
    """Give a part of a generation's money back, as an operator does."""
    with database.transaction() as session:
        ledger.refund_generation(
            session,
            generation_id,
            amount_micros,
            key=uuid.uuid4().hex,
            author_id=None,
            reason="Grey pictures",
        )


def file(
    database: Database, organisation_id: uuid.UUID, month: datetime = NOVEMBER, name: str = "csv"
) -> bytes:
    """A month's file as somebody downloads it."""
    return b"".join(bills.export(database, organisation_id, month.year, month.month, name).chunks())


def rows(content: bytes) -> list[dict[str, str]]:
    """Read a CSV file as a spreadsheet does."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
