"""What the operator says about bills by the command: close a month, write a month's files.

Each function gets the parsed words and a database and returns the lines to print;
`webapp.operator_commands` names them.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import select

from licensing import bills, seats
from licensing.db import Database
from licensing.errors import Conflict
from licensing.money import format_usd
from licensing.seats import Organisation

Lines = list[str]


def close_month(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Close a month of one organisation, or of everybody; a closed one is only shown."""
    year, month = bills.read_month(chosen.month)
    said: Lines = []
    for organisation in _organisations(database, chosen.organisation):
        bill = bills.close_month(
            database, organisation.id, year, month, clock_is_right=chosen.clock_is_right
        )
        with database.read() as session:
            files = bills.files(session, organisation.id, year, month)
        said.append(
            f"{bill.organisation_name}, {chosen.month}: {bill.lines} lines, "
            f"{format_usd(bill.amount_micros or 0)}, closed {bill.closed_at:%Y-%m-%d %H:%M} UTC"
        )
        said += [f"  {file.sha256}  {file.format}" for file in files]
    return said


def export(chosen: argparse.Namespace, database: Database, _: Path) -> Lines:
    """Write a month's files, each with its SHA-256 and control totals beside it."""
    year, month = bills.read_month(chosen.month)
    organisations = _organisations(database, chosen.organisation)
    if len(organisations) != 1:
        raise Conflict(
            "There are several organisations: say which one with --organisation. "
            + " ".join(f"{one.name}: {one.id}." for one in organisations)
        )
    chosen.out.mkdir(parents=True, exist_ok=True)
    names = list(bills.FORMATS) if chosen.format == "all" else [chosen.format]
    said: Lines = []
    for name in names:
        ready = bills.export(database, organisations[0].id, year, month, name)
        said += [str(path) for path in bills.write_files(ready, chosen.out)]
        if not ready.is_final:
            said.append("  the month is open: this file is final once the month is closed")
    return said


def _organisations(database: Database, named: str | None) -> list[Organisation]:
    with database.read() as session:
        if named is not None:
            return [seats.find_organisation(session, named)]
        return list(session.scalars(select(Organisation).order_by(Organisation.created_at)))


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Database, Path], Lines]] = {
    "close-month": close_month,
    "export": export,
}
