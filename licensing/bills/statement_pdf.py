"""A month's statement as PDF: balance, usage by model, team and member, payments, control totals.

The bytes depend on the statement alone: no clock is read, so the same statement is the same file.
Called by the finance page and by the command; imports fpdf2, so import it where it is needed.
"""

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime

from fpdf.enums import Align

from licensing.bills.statement import Share, Statement
from licensing.bills.statement_sheet import (
    ACCENT,
    GAP_MM,
    HEAD_PT,
    INK,
    MUTED,
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    WIDTH_MM,
    Column,
    Sheet,
    clean,
    decimals_of,
)

COUNT_MM = 24.0
WHEN_MM = 34.0
AMOUNT_MM_MIN = 32.0


def render(statement: Statement) -> bytes:
    """Return the statement as a PDF file."""
    month = f"{calendar.month_name[statement.month]} {statement.year}"
    sheet = Sheet(
        title=f"Statement for {month}",
        made_at=statement.closed_at or datetime(statement.year, statement.month, 1, tzinfo=UTC),
        letters="".join(_words(statement)),
        decimals=decimals_of(_amounts(statement)),
    )
    _head(sheet, statement, month)
    _balance(sheet, statement)
    for title, shares in (
        ("Model", statement.models),
        ("Team", statement.teams),
        ("Member", statement.members),
    ):
        if shares:
            _shares(sheet, title, shares, statement.usage)
    _movements(sheet, statement)
    _control(sheet, statement)
    sheet.number_pages(f"{month} · {clean(statement.organisation)}")
    return bytes(sheet.output())


def _head(sheet: Sheet, statement: Statement, month: str) -> None:
    sheet.letter(TEXT_PT, bold=True, colour=ACCENT)
    sheet.line_of("Atelier", 6)
    sheet.letter(TITLE_PT, bold=True)
    sheet.line_of(f"Statement for {month}", 11)
    sheet.letter(HEAD_PT)
    sheet.line_of(clean(statement.organisation), 6.5)
    sheet.ln(1)
    sheet.letter(SMALL_PT, colour=MUTED)
    last = calendar.monthrange(statement.year, statement.month)[1]
    sheet.line_of(f"1 to {last} {month}, days in UTC. Amounts in US dollars, not rounded.")
    if statement.closed_at is None:
        sheet.line_of("Provisional: this month is not closed yet, its figures may still change.")
    else:
        sheet.line_of(f"Final: this month was closed on {_moment(statement.closed_at)} UTC.")


def _balance(sheet: Sheet, statement: Statement) -> None:
    sheet.heading("Balance")
    wide = _amount_width(sheet, _amounts(statement))
    columns: list[Column] = [("", WIDTH_MM - wide, Align.L), ("", wide, Align.R)]
    sheet.rule(INK)
    sheet.row(columns, ["At the start", sheet.money(statement.opening_micros)])
    for flow in statement.flows:
        sheet.row(columns, [flow.name, sheet.money(flow.amount_micros)], note=flow.note)
    sheet.rule()
    end = "At the end" if statement.closed_at else "At the end so far"
    sheet.row(columns, [end, sheet.money(statement.closing_micros)], bold=True)


def _shares(sheet: Sheet, title: str, shares: tuple[Share, ...], total: Share) -> None:
    sheet.heading(f"Usage by {title.lower()}")
    wide = _amount_width(sheet, [total.amount_micros, *(s.amount_micros for s in shares)])
    columns: list[Column] = [
        (title, WIDTH_MM - 2 * COUNT_MM - wide, Align.L),
        ("Generations", COUNT_MM, Align.R),
        ("Pictures", COUNT_MM, Align.R),
        ("Amount", wide, Align.R),
    ]
    sheet.head_of(columns)
    for share in shares:
        sheet.row(columns, [clean(share.name), *_figures(sheet, share)], note=clean(share.note))
    sheet.rule()
    sheet.row(columns, ["Total", *_figures(sheet, total)], bold=True)


def _figures(sheet: Sheet, share: Share) -> list[str]:
    return [f"{share.generations:,}", f"{share.images:,}", sheet.money(share.amount_micros)]


def _movements(sheet: Sheet, statement: Statement) -> None:
    if not statement.movements:
        return
    sheet.heading("Payments, credits and corrections")
    wide = _amount_width(sheet, [one.amount_micros for one in statement.movements])
    columns: list[Column] = [
        ("What", WIDTH_MM - WHEN_MM - wide, Align.L),
        ("When (UTC)", WHEN_MM, Align.L),
        ("Amount", wide, Align.R),
    ]
    sheet.head_of(columns)
    for one in statement.movements:
        cells = [one.name, _moment(one.at), sheet.money(one.amount_micros)]
        sheet.row(columns, cells, note=clean(one.note))
    if statement.movements_left_out:
        left = f"and {statement.movements_left_out:,} more, which the sums above include"
        sheet.row(columns, [left, "", ""])


def _control(sheet: Sheet, statement: Statement) -> None:
    sheet.heading("To check this statement")
    sheet.letter(SMALL_PT, colour=MUTED)
    sheet.line_of(
        f"{statement.lines:,} usage lines add up to {statement.usage.amount_micros:,} millionths "
        "of a dollar. The ledger moved the same sum from the balance to revenue."
    )
    for name, digest in statement.hashes:
        sheet.line_of(f"SHA-256 of {name}: {digest}")


def _amount_width(sheet: Sheet, amounts_micros: list[int]) -> float:
    sheet.letter(TEXT_PT, bold=True)
    widest = max(sheet.get_string_width(sheet.money(amount)) for amount in amounts_micros)
    return max(AMOUNT_MM_MIN, widest + GAP_MM)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _words(statement: Statement) -> Iterator[str]:
    yield clean(statement.organisation)
    for share in (*statement.models, *statement.teams, *statement.members):
        yield clean(share.name)
        yield clean(share.note)
    for one in statement.movements:
        yield clean(one.note)


def _amounts(statement: Statement) -> list[int]:
    shares = (*statement.models, *statement.teams, *statement.members)
    return [
        statement.opening_micros,
        statement.closing_micros,
        statement.usage.amount_micros,
        *(flow.amount_micros for flow in statement.flows),
        *(share.amount_micros for share in shares),
        *(one.amount_micros for one in statement.movements),
    ]
