"""The bills of the finance page: every month with its totals, and its files as streams."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from licensing import usage_sums
from licensing.bills import exports
from licensing.bills.tables import BillFile, BillMonth
from licensing.db import Database
from licensing.usage_sums import Sum
from webapp.ui.months import Month, months

# The rows of a month's files: what a file is, whom it is for, and its formats.
KINDS = (
    ("Statement", "to read and to file", ("statement.pdf",)),
    ("Every line", "for spreadsheets and databases", ("csv", "parquet")),
    ("FOCUS 1.4", "for cost tools", ("focus-1.4.csv", "focus-1.4.parquet")),
    ("FOCUS 1.2", "for cost tools of before 2026", ("focus-1.2.csv", "focus-1.2.parquet")),
)
KILOBYTE = 1000


@dataclass(frozen=True)
class File:
    """A file of a month. An open month's files have no hash yet: they may still change."""

    words: str
    href: str
    size: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Kind:
    """The files that say the same in different formats."""

    words: str
    purpose: str
    files: list[File]


@dataclass(frozen=True)
class Bill:
    """A month as a bill."""

    month: Month
    closed_at: datetime | None
    lines: int
    corrections: int
    amount_micros: int
    kinds: list[Kind]


def read_bills(session: Session, organisation_id: uuid.UUID) -> list[Bill]:
    """Every month from the first one to now, newest first."""
    listed = months(session, organisation_id)
    start, end = listed[-1].bounds[0], listed[0].bounds[1]
    sums: dict[str, list[Sum]] = {}
    for one in usage_sums.summary(session, organisation_id, start, end, by=usage_sums.By.DAY):
        sums.setdefault(one.key[:7], []).append(one)
    closed = _closed(session, organisation_id)
    return [
        _bill(month, sums.get(str(month), []), *closed.get(month, (None, {}))) for month in listed
    ]


def _bill(
    month: Month, sums: list[Sum], bill: BillMonth | None, hashes: dict[str, BillFile]
) -> Bill:
    kinds = [
        Kind(words, purpose, [_stored(month, name, hashes.get(name)) for name in names])
        for words, purpose, names in KINDS
    ]
    return Bill(
        month,
        bill.closed_at if bill else None,
        sum(one.generations + one.corrections for one in sums),
        sum(one.corrections for one in sums),
        sum(one.amount_micros for one in sums),
        kinds,
    )


def _stored(month: Month, name: str, file: BillFile | None) -> File:
    ending = name.rpartition(".")[2]
    words = {"csv": "CSV", "pdf": "PDF", "parquet": "Parquet"}[ending]
    href = f"/finance/files/{name}?month={month}"
    return File(words, href, _size(file), file.sha256) if file else File(words, href)


def _closed(
    session: Session, organisation_id: uuid.UUID
) -> dict[Month, tuple[BillMonth, dict[str, BillFile]]]:
    found: dict[Month, tuple[BillMonth, dict[str, BillFile]]] = {}
    months_query = select(BillMonth).where(BillMonth.organisation_id == organisation_id)
    for bill in session.scalars(months_query):
        found[Month(bill.starts_on.year, bill.starts_on.month)] = (bill, {})
    files_query = select(BillFile).where(BillFile.organisation_id == organisation_id)
    for file in session.scalars(files_query):
        found[Month(file.starts_on.year, file.starts_on.month)][1][file.format] = file
    return found


def _size(file: BillFile) -> str:
    size = file.size_bytes
    return f"{size:,} bytes" if size < KILOBYTE else f"{size // KILOBYTE:,} kB"


def month_file(
    database: Database, organisation_id: uuid.UUID, month: Month, name: str
) -> StreamingResponse:
    """Stream a month's file; its SHA-256 is in the answer's head."""
    export = exports.export(database, organisation_id, month.year, month.number, name)
    headers = {
        "Content-Disposition": f'attachment; filename="{export.file_name}"',
        "Content-Length": str(export.size_bytes),
        "X-Content-SHA256": export.sha256,
        "Cache-Control": "no-store",
    }
    return StreamingResponse(
        export.chunks(),
        media_type=export.media_type,
        headers=headers,
        background=BackgroundTask(export.close),
    )
