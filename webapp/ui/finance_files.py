"""The finance page's figures as files: each table as it is seen, the statement, a month's bill.

A table is CSV with a mark by which spreadsheets know the encoding; amounts are plain dollars with
six decimals, and words of people cannot become formulas. The same filters give the same rows as on
the page, all pages of them at once.
"""

import csv
import io
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from licensing import usage_sums
from licensing.bills import exports
from licensing.bills.tables import BillFile, BillMonth
from licensing.db import Database, now
from licensing.money import plain_usd
from licensing.usage import UsageLine
from licensing.usage_sums import Sum
from webapp.ui import funds, spending
from webapp.ui.months import Month, months
from webapp.ui.wanted import BY_WORDS, By, Wanted

ROWS_MAX = 50_000  # what a spreadsheet opens at once; the month's own files have every line
LINE_COLUMNS = (
    "settled_at",
    "kind",
    "generation_id",
    "member",
    "team",
    "project",
    "api_key",
    "model",
    "images",
    "width",
    "height",
    "unit_price_usd",
    "amount_usd",
    "price_version",
    "reason",
)

# The rows of a month's files: what a file is, whom it is for, and its formats.
KINDS = (
    ("Statement", "to read and to file", ("statement.pdf",)),
    ("Every line", "for spreadsheets and databases", ("csv", "parquet")),
    ("FOCUS 1.4", "for cost tools", ("focus-1.4.csv", "focus-1.4.parquet")),
    ("FOCUS 1.2", "for cost tools of before 2026", ("focus-1.2.csv", "focus-1.2.parquet")),
)
KILOBYTE = 1000

# A cell that begins with one of these becomes a formula in some spreadsheet; the full-width forms
# are read as the plain ones by East Asian versions.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

Row = tuple[str, ...]


class Table(StrEnum):
    """The tables of the page."""

    USAGE = "usage"
    DAYS = "days"
    MONEY = "money"
    LOTS = "lots"


def table(session: Session, organisation_id: uuid.UUID, asked: Wanted, what: Table) -> Response:
    """Write a table as the page shows it."""
    write = {Table.USAGE: _usage, Table.DAYS: _days, Table.MONEY: _money, Table.LOTS: _lots}[what]
    named = f"{asked.month}-{asked.by}" if what is Table.USAGE else f"{asked.month}-{what}"
    if what in {Table.MONEY, Table.LOTS}:
        named = f"{what}-{now():%Y-%m-%d}"
    return _csv(write(session, organisation_id, asked), f"atelier-{named}.csv")


def _usage(session: Session, organisation_id: uuid.UUID, asked: Wanted) -> Iterator[Row]:
    if asked.by is By.GENERATION:
        yield from _lines(session, organisation_id, asked)
        return
    used = spending.read_usage(session, organisation_id, asked, now().date())
    yield (BY_WORDS[asked.by], "id", "generations", "pictures", "spent_usd")
    for group in used.groups:
        yield (
            as_text_cell(group.name),
            as_text_cell(group.key),
            str(group.spent.generations),
            str(group.spent.images),
            plain_usd(group.spent.amount_micros),
        )


def _lines(session: Session, organisation_id: uuid.UUID, asked: Wanted) -> Iterator[Row]:
    yield LINE_COLUMNS
    part = 1
    while True:
        page = spending.read_lines(session, organisation_id, replace(asked, part=part))
        yield from map(_line, page.lines)
        if part >= page.pages or part * len(page.lines) >= ROWS_MAX:
            return
        part += 1


def _line(line: UsageLine) -> Row:
    unit = line.unit_price_micros
    return (
        line.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        line.kind,
        str(line.generation_id),
        as_text_cell(line.member_name),
        as_text_cell(line.team_name or ""),
        as_text_cell(line.project or ""),
        as_text_cell(line.api_key_name or ""),
        as_text_cell(line.model),
        str(line.images),
        str(line.width),
        str(line.height),
        "" if unit is None else plain_usd(unit),
        plain_usd(line.amount_micros),
        as_text_cell(line.price_version),
        as_text_cell(line.reason or ""),
    )


def _days(session: Session, organisation_id: uuid.UUID, asked: Wanted) -> Iterator[Row]:
    """The chart: one row a day and colour."""
    used = spending.read_usage(session, organisation_id, asked, now().date())
    yield ("day", "part", "spent_usd")
    for bar in used.bars:
        for block in bar.blocks:
            yield (bar.day.isoformat(), as_text_cell(block.name), plain_usd(block.amount_micros))


def _money(session: Session, organisation_id: uuid.UUID, _asked: Wanted) -> Iterator[Row]:
    yield ("at", "kind", "amount_usd", "note", "author")
    moved = funds.read_movements(session, organisation_id, limit=ROWS_MAX)
    for one in moved.rows:
        yield (
            one.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            one.kind,
            plain_usd(one.amount_micros),
            as_text_cell(one.note),
            as_text_cell(one.author),
        )


def _lots(session: Session, organisation_id: uuid.UUID, _asked: Wanted) -> Iterator[Row]:
    yield ("kind", "received_at", "expires_at", "amount_usd", "remaining_usd")
    for lot in funds.read_lots(session, organisation_id):
        yield (
            lot.kind,
            lot.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            lot.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ") if lot.expires_at else "",
            plain_usd(lot.amount_micros),
            plain_usd(lot.remaining_micros),
        )


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


def _csv(rows: Iterable[Row], name: str) -> Response:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return _file(file.getvalue().encode("utf-8-sig"), "text/csv; charset=utf-8", name)


def _file(content: bytes, media_type: str, name: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    return Response(content, media_type=media_type, headers=headers)


def as_text_cell(words: str) -> str:
    """Keep people's words from becoming a formula: a leading apostrophe makes them text."""
    if words.lstrip(" ").startswith(FORMULA_STARTS):
        return f"'{words}"
    return words
