"""The files of a month by name: CSV and Parquet, the same in each FOCUS version, and a statement.

Whatever a file is made of is read from one snapshot of the books.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from sqlalchemy.orm import Session

from licensing.bills.focus import FOCUS_1_2, FOCUS_1_4
from licensing.bills.profiles import USAGE, Profile
from licensing.bills.render import Rows, Tally, write_csv, write_parquet
from licensing.bills.statement import read_statement
from licensing.errors import NotFound

CSV_TYPE = "text/csv; charset=utf-8"
PARQUET_TYPE = "application/vnd.apache.parquet"
STATEMENT = "statement.pdf"


@dataclass(frozen=True)
class Material:
    """What a month's files are made of; `hashes` are those of the files before, by their names."""

    books: Session
    organisation_id: uuid.UUID
    organisation_name: str
    start: datetime
    end: datetime
    closed_at: datetime | None = None
    hashes: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> Rows:
        """The rows that profiles ask for."""
        connection = self.books.connection().connection.driver_connection
        assert isinstance(connection, psycopg.Connection)
        values: dict[str, object] = {
            "organisation_id": self.organisation_id,
            "organisation_name": self.organisation_name,
            "start": self.start,
            "end": self.end,
            # Written out here, because the database would write them anew for each row.
            "period_start": f"{self.start:%Y-%m-%dT%H:%M:%SZ}",
            "period_end": f"{self.end:%Y-%m-%dT%H:%M:%SZ}",
            "statement": f"statement-{self.start:%Y-%m}",
        }
        return Rows(connection, values)


@dataclass(frozen=True)
class Format:
    """A kind of file. `profile` names its layout and the version of that."""

    name: str
    profile: str
    stem: str
    ending: str
    media_type: str
    write: Callable[[Material, Tally], None]

    def file_name(self, year: int, month: int) -> str:
        """The name of a month's file, for example `atelier-usage-2026-11.csv`."""
        return f"{self.stem}-{year:04d}-{month:02d}.{self.ending}"


def find_format(name: str) -> Format:
    """Return the format of that name; raises `NotFound` with the names that there are."""
    if name not in FORMATS:
        raise NotFound(f"There is no format {name!r}. Choose one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def _csv(name: str, profile: Profile) -> Format:
    def write(material: Material, tally: Tally) -> None:
        write_csv(material.rows, profile, tally)

    return Format(name, profile.name, profile.stem, "csv", CSV_TYPE, write)


def _parquet(name: str, profile: Profile) -> Format:
    def write(material: Material, tally: Tally) -> None:
        write_parquet(material.rows, profile, tally)

    return Format(name, profile.name, profile.stem, "parquet", PARQUET_TYPE, write)


def _write_statement(material: Material, tally: Tally) -> None:
    from licensing.bills.statement_pdf import render  # noqa: PLC0415 - fonts, for this file alone

    statement = read_statement(
        material.books,
        material.organisation_id,
        material.start,
        material.end,
        organisation=material.organisation_name,
        closed_at=material.closed_at,
        hashes=material.hashes,
    )
    tally.rows = statement.lines
    tally.write(render(statement))


# In the order in which they are written: the statement names the others' hashes.
FORMATS: Mapping[str, Format] = {
    format_.name: format_
    for format_ in (
        _csv("csv", USAGE),
        _parquet("parquet", USAGE),
        _csv("focus-1.2.csv", FOCUS_1_2),
        _parquet("focus-1.2.parquet", FOCUS_1_2),
        _csv("focus-1.4.csv", FOCUS_1_4),
        _parquet("focus-1.4.parquet", FOCUS_1_4),
        Format(
            STATEMENT,
            "statement/1",
            "atelier-statement",
            "pdf",
            "application/pdf",
            _write_statement,
        ),
    )
}
