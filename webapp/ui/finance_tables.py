"""The finance page's figures as CSV: each table as it is seen.

The file has a mark by which spreadsheets know the encoding; amounts are plain dollars with six
decimals, and words of people cannot become formulas. The same filters give the same rows as on the
page, all pages of them at once.
"""

import csv
import io
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum

from sqlalchemy.orm import Session
from starlette.responses import Response

from licensing import payments
from licensing.db import now
from licensing.money import plain_usd
from licensing.usage import UsageLine
from webapp.ui import finance_files, funds, spending
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
    PAYMENTS = "payments"
    INVOICES = "invoices"
    BILLS = "bills"


def table(session: Session, organisation_id: uuid.UUID, asked: Wanted, what: Table) -> Response:
    """Write a table as the page shows it."""
    named = f"{what}-{now():%Y-%m-%d}"
    if what in {Table.USAGE, Table.DAYS}:
        named = f"{asked.month}-{asked.by if what is Table.USAGE else what}"
    write = {
        Table.USAGE: _usage,
        Table.DAYS: _days,
        Table.MONEY: _money,
        Table.LOTS: _lots,
        Table.PAYMENTS: _payments,
        Table.INVOICES: _invoices,
        Table.BILLS: _bills,
    }[what]
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


def _payments(session: Session, organisation_id: uuid.UUID, _asked: Wanted) -> Iterator[Row]:
    yield ("at", "kind", "state", "amount_usd", "paid_back_usd", "dispute", "failure", "id")
    for one in payments.payment_lines(session, organisation_id, limit=ROWS_MAX):
        yield (
            one.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            one.kind,
            one.state,
            plain_usd(one.amount_micros),
            plain_usd(one.refunded_micros),
            one.disputed or "",
            as_text_cell(one.failure or ""),
            str(one.id),
        )


def _invoices(session: Session, organisation_id: uuid.UUID, _asked: Wanted) -> Iterator[Row]:
    yield ("number", "kind", "month", "state", "amount_usd", "due_at", "paid_at")
    for one in payments.invoice_lines(session, organisation_id, limit=ROWS_MAX):
        yield (
            as_text_cell(one.number or ""),
            one.kind,
            f"{one.month:%Y-%m}" if one.month else "",
            one.state,
            plain_usd(one.amount_micros),
            one.due_at.strftime("%Y-%m-%dT%H:%M:%SZ") if one.due_at else "",
            one.paid_at.strftime("%Y-%m-%dT%H:%M:%SZ") if one.paid_at else "",
        )


def _bills(session: Session, organisation_id: uuid.UUID, _asked: Wanted) -> Iterator[Row]:
    yield ("month", "closed_at", "lines", "corrections", "amount_usd")
    for bill in finance_files.read_bills(session, organisation_id):
        yield (
            str(bill.month),
            bill.closed_at.strftime("%Y-%m-%dT%H:%M:%SZ") if bill.closed_at else "",
            str(bill.lines),
            str(bill.corrections),
            plain_usd(bill.amount_micros),
        )


def _csv(rows: Iterable[Row], name: str) -> Response:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    content = file.getvalue().encode("utf-8-sig")
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def as_text_cell(words: str) -> str:
    """Keep people's words from becoming a formula: a leading apostrophe makes them text."""
    if words.lstrip(" ").startswith(FORMULA_STARTS):
        return f"'{words}"
    return words
